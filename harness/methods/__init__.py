"""Methods of stating uncertainty that people choose between."""
