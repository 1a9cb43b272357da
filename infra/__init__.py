"""Starts what others compute on: Flink here or on Kubernetes, Dataflow, a TPU."""
