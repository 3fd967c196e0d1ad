-- Lines of text files that could not be read as rows.
CREATE TABLE malformed (source VARCHAR, file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR);
