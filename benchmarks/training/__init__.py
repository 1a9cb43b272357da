"""Training's parts, measured beside their peers."""
