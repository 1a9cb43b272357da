"""Runners of the Beam jobs: Flink on this machine or on Kubernetes, or Dataflow."""
