"""How throughput scales with threads, and with instances side by side."""
