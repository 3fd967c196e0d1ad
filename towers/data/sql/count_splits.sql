-- Events and positives of each part.
SELECT split, count(*), count(*) FILTER (WHERE positive) FROM events GROUP BY split;
