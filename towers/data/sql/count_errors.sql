-- What kinds of errors the reader met.
SELECT DISTINCT error_type FROM towers_errors;
