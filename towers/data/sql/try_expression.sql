-- Nothing, but it fails where the expression does not fit the columns.
SELECT ({expression}) FROM typed_events LIMIT 0;
