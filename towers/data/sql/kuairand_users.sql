-- The authors write a missing flag as -124.
CREATE TABLE raw_users AS
SELECT row_number() OVER () AS towers_row, * REPLACE (nullif(is_live_streamer, -124) AS is_live_streamer)
FROM {reader};
