"""The selection job, compared with its peers."""
