"""What registers it."""

from __future__ import annotations

from sigmabench.harness.studies.study import Study

STUDY = Study("extremes", "throwaway.extremes", "The largest mean of each parameter.")
