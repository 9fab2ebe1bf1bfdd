"""Memory that a program takes, against the least that it needs."""
