-- How many of those known before the cut have a value.
SELECT count({value})
FROM {kind}s AS numbered JOIN typed_{kind}s AS typed ON numbered.id = typed.id AND typed.reason IS NULL
WHERE numbered.known;
