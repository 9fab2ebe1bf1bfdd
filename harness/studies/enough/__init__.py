"""How many MC samples are enough."""
