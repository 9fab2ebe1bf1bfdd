"""Other implementations on the same networks."""
