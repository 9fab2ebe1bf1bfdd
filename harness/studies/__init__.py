"""Everything a user can ask for."""
