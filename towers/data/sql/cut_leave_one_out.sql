-- The last positive of a user tests and the one before validates; other events go with the positive they follow.
-- Users with fewer than three positives only train.
CREATE TABLE events AS
WITH counted AS (
    SELECT
        *,
        count(*) FILTER (WHERE positive) OVER (
            PARTITION BY user_id ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS so_far,
        count(*) FILTER (WHERE positive) OVER (PARTITION BY user_id) AS in_all
    FROM ordered
)
SELECT * EXCLUDE (so_far, in_all) REPLACE (
    CAST(CASE
        WHEN in_all < 3 OR so_far < in_all - 1 THEN 0
        WHEN so_far = in_all - 1 THEN 1
        ELSE 2
    END AS TINYINT) AS split
)
FROM counted;
