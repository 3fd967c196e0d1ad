-- The events in rows instead of ids, sorted by user and then in the user's order.
COPY (
    SELECT
        users.row AS user_row,
        videos.row AS video_row,
        events.time_ms,
        CAST(events.place AS INTEGER) AS position,
        events.split,
        events.positive,
        events.weight{labels}
    FROM events
    JOIN users ON events.user_id = users.id
    JOIN videos ON events.video_id = videos.id
    ORDER BY user_row, place
) TO {file} (FORMAT parquet, COMPRESSION zstd);
