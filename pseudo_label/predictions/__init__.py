"""Predictions: one Parquet file per input shard, one row per image."""
