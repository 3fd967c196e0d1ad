-- How many lines of one table could not be read, by reason.
SELECT reason, count(*) FROM malformed WHERE source = '{source}' GROUP BY reason ORDER BY reason;
