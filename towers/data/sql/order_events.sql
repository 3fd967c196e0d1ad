-- What is kept, in each user's order: unknown times first, then time, position, place in the source.
CREATE TABLE ordered AS
WITH kept AS (
    SELECT * FROM judged
    WHERE reason IS NULL AND towers_row NOT IN (SELECT towers_row FROM duplicates)
),
placed AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY user_id ORDER BY time_ms NULLS FIRST, position NULLS FIRST, towers_row
        ) - 1 AS place,
        row_number() OVER (
            PARTITION BY user_id, video_id, wanted
            ORDER BY time_ms NULLS FIRST, position NULLS FIRST, towers_row
        ) AS nth_time
    FROM kept
)
SELECT
    * EXCLUDE (wanted, nth_time, weight, reason, position),
    wanted AND (nth_time = 1 OR {repeats_count}) AS positive,
    CASE WHEN nth_time = 1 OR {repeats_count} THEN weight ELSE 0 END AS weight
FROM placed;
