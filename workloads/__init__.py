"""The workloads that ship: one module each."""
