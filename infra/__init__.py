"""Starts what others compute on: Flink on this machine, Dataflow, or a Cloud TPU."""
