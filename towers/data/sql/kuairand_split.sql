-- The split follows the day (China time) that the log names; the history has none and lies before.
ALTER TABLE raw_events ADD COLUMN split VARCHAR;
UPDATE raw_events SET split = CASE
    WHEN date IS NULL OR date <= {train_last_date} THEN 'train'
    WHEN date <= {valid_last_date} THEN 'valid'
    ELSE 'test'
END;
