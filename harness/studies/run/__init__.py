"""The grid of cells of one workload."""
