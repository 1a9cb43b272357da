"""Selection, measured beside its peers."""
