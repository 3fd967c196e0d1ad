-- The lines that are no rows, and those that could not even be read as text; the latter count in the lines' numbers.
INSERT INTO malformed
WITH unread AS (
    SELECT
        scans.file_path AS file,
        errors.line,
        min(CASE errors.error_type
            WHEN 'INVALID ENCODING' THEN 'not UTF-8'
            WHEN 'LINE SIZE OVER MAXIMUM' THEN 'too long a line'
            ELSE 'unreadable line'
        END) AS reason,
        min(trim(errors.csv_line, chr(10) || chr(13))) AS raw
    FROM towers_errors AS errors JOIN towers_scans AS scans USING (scan_id, file_id)
    GROUP BY scans.file_path, errors.line
),
gaps AS (
    SELECT file, line - nth AS after, max(nth) AS unread
    FROM (SELECT file, line, row_number() OVER (PARTITION BY file ORDER BY line) AS nth FROM unread)
    GROUP BY file, after
),
wrong AS (
    SELECT parsed.file, parsed.place - files.first + 1 AS nth, parsed.reason, parsed.line AS raw
    FROM {name}_parsed AS parsed JOIN {name}_files AS files ON parsed.file = files.file
    WHERE parsed.reason IS NOT NULL
)
SELECT '{source}', wrong.file, wrong.nth + coalesce(gaps.unread, 0), wrong.reason, wrong.raw
FROM wrong ASOF LEFT JOIN gaps ON wrong.file = gaps.file AND wrong.nth > gaps.after
UNION ALL
SELECT '{source}', file, line, reason, raw FROM unread;
