-- A table as its source has it, each row numbered by its place there.
CREATE TABLE {name} AS
SELECT row_number() OVER () AS towers_row, * FROM {reader};
