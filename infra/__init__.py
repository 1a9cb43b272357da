"""Starts a runner of the Beam jobs: Flink on this machine, or Dataflow."""
