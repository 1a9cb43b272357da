"""The labeling job, compared with its peers."""
