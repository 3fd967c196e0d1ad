-- Rows from 2 on: first what is listed or was met in train, by id; then what came later, by id.
-- So nothing that comes after the cut moves anything before it.
CREATE TABLE {kind}s AS
WITH met AS (
    SELECT {kind}_id AS id, max(CASE WHEN split = 0 THEN 1 ELSE 0 END) = 1 AS known
    FROM events GROUP BY {kind}_id
),
listed AS (
    {listed}
),
everything AS (
    SELECT
        coalesce(met.id, listed.id) AS id,
        coalesce(met.known, false) AS known,
        listed.id IS NOT NULL AS is_listed
    FROM met FULL OUTER JOIN listed ON met.id = listed.id
)
SELECT
    CAST(1 + row_number() OVER (ORDER BY CASE WHEN known OR is_listed THEN 0 ELSE 1 END, id) AS INTEGER) AS row,
    id,
    known
FROM everything;
