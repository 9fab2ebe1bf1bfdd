"""What is measured: a network, its posterior, its data, and the cells that a plan makes of them."""
