"""What bounds a pass: the machine's ceilings, and each layer below them."""
