"""Measures what the launcher of a labeling job does with many shards in a bucket."""
