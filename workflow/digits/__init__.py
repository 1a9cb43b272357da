"""Handwritten digits, divided into a labeled, an unlabeled and a test set."""
