-- How many rows there are, how many have the feature, and how many had something in its cell.
SELECT count(*), count(typed.{column}), count(nullif(CAST(raw.{column} AS VARCHAR), ''))
FROM typed_{kind}s AS typed JOIN raw_{kind}s AS raw ON typed.towers_row = raw.towers_row;
