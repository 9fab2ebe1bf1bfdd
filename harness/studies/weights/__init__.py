"""Ranges and noise of sampled weights."""
