"""Two sets of records, cell by cell."""
