"""asv benchmarks: what changed in speed, memory, size and quality, across commits (docs/asv.md).

They ask `sigmabench.harness.api` alone, import at every commit, and skip what a commit lacks. asv
flags upward steps, so everything here is better when lower. Every benchmark has an explicit
version; raise it when what it measures changes, and leave it alone otherwise, or its history is
lost.
"""
