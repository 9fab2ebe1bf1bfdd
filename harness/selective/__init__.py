"""Selective prediction: what a network is unsure of is referred to a person."""
