-- Everything that was not taken, with the reason and the row as it came.
COPY (
    {parts}
    ORDER BY source, source_row
) TO {file} (FORMAT parquet, COMPRESSION zstd);
