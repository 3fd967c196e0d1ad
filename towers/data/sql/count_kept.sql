-- How many events are kept, how many of them are positive, and how many have a known time.
SELECT count(*), count(*) FILTER (WHERE positive), count(time_ms) FROM ordered;
