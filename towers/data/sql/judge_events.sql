-- Every event with its labels, whether it is positive, its weight, and the reason to reject it, if there is one.
CREATE TABLE judged AS
WITH valued AS (
    SELECT
        *,
        CASE WHEN towers_flaw IS NULL THEN TRY(({positive}) IS TRUE) END AS towers_positive,
        CASE WHEN towers_flaw IS NULL THEN TRY(CAST(({weight}) AS FLOAT)) END AS towers_weight
    FROM typed_events
)
SELECT
    towers_row,
    towers_user_id AS user_id,
    towers_video_id AS video_id,
    towers_time_ms AS time_ms,
    towers_position AS position,
    towers_split AS split,
    towers_positive AS wanted,
    CASE WHEN towers_positive THEN towers_weight ELSE 0 END AS weight,
    CASE
        WHEN towers_flaw IS NOT NULL THEN towers_flaw{nans_of_positive}
        WHEN towers_positive IS NULL THEN 'data.positive cannot be computed'
        WHEN NOT towers_positive THEN NULL{nans_of_weight}
        WHEN towers_weight IS NULL THEN 'weight is null'
        WHEN isnan(towers_weight) THEN 'weight is NaN'
        WHEN isinf(towers_weight) THEN 'weight is infinite'
        WHEN towers_weight < 0 THEN 'weight is negative'
    END AS reason{labels}
FROM valued;
