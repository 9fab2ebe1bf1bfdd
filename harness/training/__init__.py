"""Training a posterior."""
