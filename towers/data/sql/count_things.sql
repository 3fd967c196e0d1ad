-- How many users or videos there are, how many were met in train, and how many have a positive anywhere.
SELECT
    count(*),
    count(*) FILTER (WHERE known),
    (SELECT count(DISTINCT {kind}_id) FROM events WHERE positive)
FROM {kind}s;
