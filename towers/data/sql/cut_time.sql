-- One moment for everybody: an event at the moment itself is not in its past. Unknown times lie before all known ones.
CREATE VIEW events AS
SELECT * REPLACE (
    CAST(CASE WHEN time_ms >= {test_ms} THEN 2 WHEN time_ms >= {valid_ms} THEN 1 ELSE 0 END AS TINYINT) AS split
)
FROM ordered;
