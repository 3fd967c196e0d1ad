-- How many texts a column's first rows have, how many hold the separator, and how many parts, all and different, the
-- latter have. Parts of different texts, so that "Lopez, Ana", who made many videos, does not look like two tags.
WITH texts AS (
    SELECT text FROM (SELECT CAST({column} AS VARCHAR) AS text FROM {name} LIMIT {first}) WHERE trim(text) <> ''
),
parts AS (
    SELECT trim(unnest(string_split(text, {separator}))) AS part
    FROM (SELECT DISTINCT text FROM texts WHERE contains(text, {separator}))
)
SELECT
    (SELECT count(*) FROM texts),
    (SELECT count(*) FROM texts WHERE contains(text, {separator})),
    count(*),
    count(DISTINCT part)
FROM parts WHERE part <> '';
