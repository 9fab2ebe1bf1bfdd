"""Contenders that take turns on one clock."""
