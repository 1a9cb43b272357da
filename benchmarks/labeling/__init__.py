"""The labeling job beside its peers."""
