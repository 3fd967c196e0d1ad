-- Each raw event with its cells parsed, and what is wrong with it, if anything is.
CREATE VIEW typed_events AS
SELECT
    towers_row,
    {cells},
    {user_id} AS towers_user_id,
    {video_id} AS towers_video_id,
    {time_ms} AS towers_time_ms,
    {position} AS towers_position,
    {split} AS towers_split,
    CASE {flaws} END AS towers_flaw
FROM raw_events;
