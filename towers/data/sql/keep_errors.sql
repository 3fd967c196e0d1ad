-- The lines that the CSV reader could not split into the header's number of cells; a cell that spans lines counts as one.
INSERT INTO malformed
SELECT
    '{source}',
    scans.file_path,
    errors.line,
    min(CASE errors.error_type
        WHEN 'MISSING COLUMNS' THEN 'too few cells'
        WHEN 'TOO MANY COLUMNS' THEN 'too many cells'
        WHEN 'INVALID ENCODING' THEN 'not UTF-8'
    END),
    min(trim(errors.csv_line, chr(10) || chr(13)))
FROM towers_errors AS errors JOIN towers_scans AS scans USING (scan_id, file_id)
GROUP BY scans.file_path, errors.line;
