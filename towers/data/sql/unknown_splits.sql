-- A name in the split column that is none of ours.
SELECT towers_split, count(*) FROM typed_events
WHERE towers_split NOT IN ('train', 'valid', 'test')
GROUP BY towers_split ORDER BY towers_split LIMIT 1;
