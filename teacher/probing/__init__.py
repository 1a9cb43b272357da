"""Probes that learn from the embeddings in predictions."""
