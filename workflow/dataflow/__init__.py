"""Looks for what a job on Dataflow needs, before one is submitted."""
