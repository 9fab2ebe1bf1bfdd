"""What the papers claim, judged from records."""
