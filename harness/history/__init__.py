"""What asv measured across commits: read, judged and shown; and the machines that asv names."""
