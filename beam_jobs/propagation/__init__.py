"""The propagation job: predictions from predictions, with labels of neighbors."""
