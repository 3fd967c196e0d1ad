-- Every line of text files as it is, in order; an empty one is null.
CREATE TABLE {name}_lines AS
SELECT row_number() OVER () AS place, filename AS file, line FROM {reader};
CREATE TABLE {name}_files AS
SELECT file, min(place) AS first FROM {name}_lines GROUP BY file;
