"""Which instances, cores, team and batch serve a goal best on this machine."""
