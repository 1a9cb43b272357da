"""Rows a second of the relabeling job, and what takes the time."""
