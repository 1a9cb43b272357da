"""How a pipeline is run: locally, on a cluster, on Dataflow, and its cost."""
