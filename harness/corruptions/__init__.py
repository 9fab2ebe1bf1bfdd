"""Corrupted copies of images: types of corruption, and copies that others published."""
