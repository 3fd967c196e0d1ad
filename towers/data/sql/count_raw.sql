-- How many events came.
SELECT count(*) FROM raw_events;
