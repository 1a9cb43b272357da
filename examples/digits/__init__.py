"""Handwritten digits as a labeled, an unlabeled and a test set."""
