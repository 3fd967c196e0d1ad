-- The values that at least {least} of those known before the cut have.
SELECT value
FROM (
    SELECT {value} AS value
    FROM {kind}s AS numbered JOIN typed_{kind}s AS typed ON numbered.id = typed.id AND typed.reason IS NULL
    WHERE numbered.known
)
WHERE value IS NOT NULL
GROUP BY value
HAVING count(*) >= {least}
ORDER BY value;
