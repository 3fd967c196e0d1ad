-- A table that was not read rightly.
DROP TABLE IF EXISTS {name};
