"""The labeling job."""
