-- The time of the event that stands after this share of all events with a known time.
SELECT time_ms FROM ordered
WHERE time_ms IS NOT NULL
ORDER BY time_ms
LIMIT 1 OFFSET {offset};
