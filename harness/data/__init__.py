"""Images and labels: where they come from, how they are decoded, which of them belong together."""
