"""The `sigmabench` command line."""
