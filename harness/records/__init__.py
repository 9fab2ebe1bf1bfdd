"""What is stored: records of every kind, and the store."""
