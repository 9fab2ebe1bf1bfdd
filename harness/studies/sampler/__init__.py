"""How fast weights are drawn, against a plain copy of the same bytes."""
