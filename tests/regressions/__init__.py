"""Whether `asv continuous` finds what was made worse on purpose: `python tests/regressions`."""
