"""Measurements of the code itself; `python -m benchmarks.NAME` prints one."""
