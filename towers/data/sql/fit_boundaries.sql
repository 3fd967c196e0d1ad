-- The values at the quantiles, over those known before the cut; the lowest of all bounds nothing.
WITH numbers AS (
    SELECT {value} AS value
    FROM {kind}s AS numbered JOIN typed_{kind}s AS typed ON numbered.id = typed.id AND typed.reason IS NULL
    WHERE numbered.known AND {value} IS NOT NULL
)
SELECT DISTINCT value
FROM (SELECT unnest(quantile_disc(value, {shares})) AS value FROM numbers)
WHERE value > (SELECT min(value) FROM numbers)
ORDER BY value;
