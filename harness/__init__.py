"""SigmaBench's engine: posteriors, quantization, backends, measuring, reports.

Scripts import from `sigmabench.harness.api`. Importing this package imports nothing.
"""
