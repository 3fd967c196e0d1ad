-- Everything that was not taken, with the reason and the row as it came, or as it stands in its file if it is no row.
COPY (
    {parts}
    ORDER BY source, source_row, file, line
) TO {file} (FORMAT parquet, COMPRESSION zstd);
