"""A study: the largest |mu| of every parameter of a workload's posterior."""
