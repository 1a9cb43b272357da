"""Shared by all benchmarks: test images, turns, process watching, peers, goals."""
