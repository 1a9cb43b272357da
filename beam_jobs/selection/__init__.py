"""The selection job."""
