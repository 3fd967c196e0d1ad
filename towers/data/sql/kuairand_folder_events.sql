-- The authors' own logs, one after the other; all times are known.
CREATE TABLE raw_events AS
SELECT row_number() OVER () AS towers_row, *, CAST(NULL AS INTEGER) AS position
FROM {logs};
