"""The static site of a results directory: pages of everything that is stored."""
