"""One pass of our formats and of other implementations, in turns."""
