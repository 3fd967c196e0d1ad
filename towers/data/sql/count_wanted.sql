-- How many kept events are positive, also those of a video watched again.
SELECT count(*) FROM judged
WHERE reason IS NULL AND wanted AND towers_row NOT IN (SELECT towers_row FROM duplicates);
