"""Probes: linear heads fitted to embeddings of a frozen network."""
