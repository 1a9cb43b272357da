"""Writing records, measured beside Beam's own way."""
