-- How the first line that is not empty begins.
SELECT line[:40] FROM {name}_lines WHERE trim(line) <> '' ORDER BY place LIMIT 1;
