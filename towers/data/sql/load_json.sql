-- Objects as rows of text.
CREATE TABLE {name} AS
SELECT row_number() OVER () AS towers_row, unnest(json_transform(line, {structure}))
FROM {name}_parsed
WHERE reason IS NULL;
