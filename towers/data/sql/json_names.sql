-- The names that any of the objects uses, in the order of their first use.
WITH named AS (
    SELECT place, json_keys(line) AS names FROM {name}_parsed WHERE reason IS NULL
),
used AS (
    SELECT place, unnest(names) AS name, generate_subscripts(names, 1) AS nth FROM named
)
SELECT name FROM used GROUP BY name ORDER BY min(place), min(nth);
