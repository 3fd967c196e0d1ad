-- The history comes first: its order is known, its times are not. Then every exposure of the log.
CREATE TABLE raw_events AS
SELECT row_number() OVER () AS towers_row, *
FROM (
    SELECT user_id, video_id, position, 1 AS long_view FROM {history}
    UNION ALL BY NAME
    SELECT * FROM {log}
);
