-- Users or videos with their features parsed; the first of several rows with one id counts.
CREATE TABLE typed_{kind}s AS
SELECT
    towers_row,
    {id} AS id,
    CASE
        WHEN {raw_id} IS NULL THEN 'null {kind}_id'
        WHEN {id} IS NULL THEN 'unparsable {kind}_id'
        WHEN row_number() OVER (PARTITION BY {id} ORDER BY towers_row) > 1 THEN 'repeated {kind}_id'
    END AS reason{features}
FROM raw_{kind}s;
