-- The lines that could not be read as rows.
SELECT source, CAST(NULL AS BIGINT) AS source_row, reason, raw, file, line FROM malformed
