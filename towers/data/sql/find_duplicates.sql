-- Rows that repeat an earlier row of the source in every column.
CREATE TABLE duplicates AS
SELECT towers_row
FROM (
    SELECT towers_row, row_number() OVER (PARTITION BY {columns} ORDER BY towers_row) AS nth
    FROM raw_events
)
WHERE nth > 1 AND towers_row NOT IN (SELECT towers_row FROM judged WHERE reason IS NOT NULL);
