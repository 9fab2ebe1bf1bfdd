"""Benchmarks of the runtime: what a pass costs, beside what else computes the same network."""
