"""asv benchmarks over the embedded workload: what changed, across commits.

asv flags upward steps alone, so everything here is better when lower: seconds, error, NLL, ECE and
bytes. Every benchmark has an explicit version; raise it when what it measures changes, and leave it
alone otherwise, or its history is lost.
"""
