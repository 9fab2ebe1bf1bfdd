"""Other implementations of the same networks, each in an environment and a process of its own."""
