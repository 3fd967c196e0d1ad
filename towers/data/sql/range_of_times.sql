-- How many times are too early to be real, too late, known at all, other than 0; the first and the last of all, the
-- last that is too early, the first that is too late.
SELECT
    count(*) FILTER (WHERE towers_time_ms > 0 AND towers_time_ms < {early}),
    count(*) FILTER (WHERE towers_time_ms > {late}),
    count(towers_time_ms),
    count(*) FILTER (WHERE towers_time_ms <> 0),
    min(towers_time_ms),
    max(towers_time_ms),
    max(towers_time_ms) FILTER (WHERE towers_time_ms < {early}),
    min(towers_time_ms) FILTER (WHERE towers_time_ms > {late})
FROM typed_events;
