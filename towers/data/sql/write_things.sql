-- Users or videos with their raw features, in row order.
COPY (
    SELECT numbered.row AS {kind}_row, numbered.id AS {kind}_id, numbered.known{features}
    FROM {kind}s AS numbered {join}
    ORDER BY numbered.row
) TO {file} (FORMAT parquet, COMPRESSION zstd);
