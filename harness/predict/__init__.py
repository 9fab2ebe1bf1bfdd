"""Predictions by Monte Carlo passes, and what comes of them."""
