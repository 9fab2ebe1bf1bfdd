"""Tests of differences and their intervals."""
