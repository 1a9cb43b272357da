"""Random damage to every file that the project reads."""
