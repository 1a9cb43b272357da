"""A student compared with its teacher and its pseudo-labels."""
