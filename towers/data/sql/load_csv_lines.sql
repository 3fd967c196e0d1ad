-- Cells as columns, by the names in their file's header.
CREATE TABLE {name} AS
SELECT row_number() OVER () AS towers_row, {columns}
FROM (SELECT * FROM {name}_parsed WHERE reason IS NULL ORDER BY place);
