"""The relabeling job: another head on the embeddings of predictions."""
