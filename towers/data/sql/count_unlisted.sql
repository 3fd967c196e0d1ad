-- How many users or videos are met in events alone: the table that should list them does not.
SELECT count(*) FROM {kind}s AS numbered
WHERE NOT EXISTS (FROM typed_{kind}s AS typed WHERE typed.id = numbered.id AND typed.reason IS NULL);
