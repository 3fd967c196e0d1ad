-- The rejected rows of one table, each with its reason and as it came, in JSON.
SELECT
    '{source}' AS source,
    judged.towers_row AS source_row,
    judged.reason,
    CAST(to_json(struct_pack({cells})) AS VARCHAR) AS raw,
    CAST(NULL AS VARCHAR) AS file,
    CAST(NULL AS BIGINT) AS line
FROM {judged} AS judged JOIN {raw} AS raw ON judged.towers_row = raw.towers_row
WHERE judged.reason IS NOT NULL
