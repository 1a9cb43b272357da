"""Labeling, measured beside its peers."""
