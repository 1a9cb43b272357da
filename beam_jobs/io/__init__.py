"""Remote file systems, and shards as work for Beam."""
