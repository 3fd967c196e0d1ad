-- How many different values a column has.
SELECT count(DISTINCT {column}) FROM {name};
