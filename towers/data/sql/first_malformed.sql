-- One of the lines that could not be read, and how many there are.
SELECT file, line, reason, (SELECT count(*) FROM malformed WHERE source = '{source}')
FROM malformed WHERE source = '{source}' ORDER BY file, line LIMIT 1;
