"""SigmaBench's engine: posteriors, quantization, backends, measuring, reports.

Scripts import from `sigmabench.harness.api`. Importing this package imports nothing heavy: it notes
the cores that the process was started with, before a library binds threads to some of them.
"""

from .machine import cores  # noqa: F401
