-- Each line split into cells by itself, with the reason why it is no row, if there is one. Without quotes that is a
-- matter of the delimiter; with quotes a cell is quoted as a whole or not at all.
CREATE VIEW {name}_parsed AS
WITH headers AS (
    SELECT *, regexp_escape(delimiter) || '("(?:[^"]|"")*"|[^"' || delimiter || '][^' || delimiter || ']*|)' AS cell
    FROM (VALUES {headers}) AS given (file, delimiter, names)
),
split AS (
    SELECT
        lines.place,
        lines.file,
        lines.line,
        headers.names,
        CASE
            WHEN NOT contains(line, '"') THEN string_split(line, delimiter)
            WHEN regexp_full_match(delimiter || line, '(' || cell || ')*')
                THEN [
                    CASE WHEN one LIKE '"%' THEN replace(one[2:-2], '""', '"') ELSE one END
                    FOR one IN regexp_extract_all(delimiter || line, cell, 1)
                ]
        END AS cells
    FROM {name}_lines AS lines
    JOIN {name}_files AS files ON lines.file = files.file AND lines.place > files.first
    JOIN headers ON lines.file = headers.file
    WHERE lines.line IS NOT NULL
)
SELECT
    *,
    CASE
        WHEN cells IS NULL THEN 'a quote that is not closed'
        WHEN len(cells) < len(names) THEN 'too few cells'
        WHEN len(cells) > len(names) + 1 OR cells[len(names) + 1] <> '' THEN 'too many cells'
    END AS reason
FROM split;
