-- How many rows each rule rejected.
SELECT reason, count(*) FROM {judged} WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason;
