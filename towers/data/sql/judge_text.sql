-- How many cells of a text column there are, and how many can be read as each type.
SELECT
    count({column}),
    count(TRY_CAST(split_part({column}, '.', 1) AS BIGINT))
        FILTER (WHERE regexp_matches({column}, '^(0|-?[1-9][0-9]*)([.]0*)?$')),
    count(TRY_CAST({column} AS BIGINT)) FILTER (WHERE regexp_matches({column}, '^-?[0-9]+$')),
    count(TRY_CAST({column} AS DOUBLE)),
    count(*) FILTER (WHERE lower({column}) IN ('true', 'false')),
    count(TRY_CAST({column} AS TIMESTAMP WITH TIME ZONE)),
    count(*) FILTER (
        WHERE {column} LIKE '[%' AND len([one FOR one IN TRY_CAST({column} AS DOUBLE[]) IF one IS NULL]) = 0
    ),
    count(TRY_CAST({column} AS VARCHAR[])) FILTER (WHERE {column} LIKE '[%')
FROM {name};
