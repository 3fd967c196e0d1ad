-- How many texts a column has, how many hold the separator, and how many parts, all and different, the latter have.
-- Parts of different texts, so that "Lopez, Ana", who made many videos, does not look like two tags.
WITH texts AS (
    SELECT DISTINCT CAST({column} AS VARCHAR) AS text FROM {name} WHERE trim(CAST({column} AS VARCHAR)) <> ''
),
parts AS (
    SELECT trim(unnest(string_split(text, {separator}))) AS part FROM texts WHERE contains(text, {separator})
)
SELECT
    (SELECT count(*) FROM {name} WHERE trim(CAST({column} AS VARCHAR)) <> ''),
    (SELECT count(*) FROM {name} WHERE contains(CAST({column} AS VARCHAR), {separator})),
    count(*),
    count(DISTINCT part)
FROM parts WHERE part <> '';
