"""How many queries per second are answered in time and well enough, T fixed or by the queue."""
