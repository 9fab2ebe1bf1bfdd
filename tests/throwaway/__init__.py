"""A package of someone else's, with one of everything that can be registered."""
