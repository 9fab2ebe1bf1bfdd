"""Whom to refer to a person, and what is left."""
