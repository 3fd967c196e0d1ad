-- What a reading left behind.
DROP TABLE IF EXISTS towers_errors;
DROP TABLE IF EXISTS towers_scans;
DROP VIEW IF EXISTS {name}_parsed;
DROP TABLE IF EXISTS {name}_lines;
DROP TABLE IF EXISTS {name}_files;
