"""The selection job beside its peers."""
