"""What predictions are worth: scores and curves."""
