"""Sources of records, a file a source."""
