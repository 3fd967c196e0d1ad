-- Each line with the reason why it is no row, if there is one.
CREATE VIEW {name}_parsed AS
SELECT
    place,
    file,
    line,
    CASE
        WHEN NOT json_valid(line) THEN 'malformed JSON'
        WHEN json_type(line) <> 'OBJECT' THEN 'no JSON object'
    END AS reason
FROM {name}_lines
WHERE trim(line) <> '';
