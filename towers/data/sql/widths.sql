-- How wide the vectors of a feature are, the usual width first.
SELECT len({column}), count(*) FROM typed_{kind}s WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1;
