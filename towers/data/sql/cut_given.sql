-- The split as the source has it.
CREATE VIEW events AS
SELECT * REPLACE (
    CAST(CASE split WHEN 'train' THEN 0 WHEN 'valid' THEN 1 WHEN 'test' THEN 2 END AS TINYINT) AS split
)
FROM ordered;
