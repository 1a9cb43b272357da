"""Gray photographs of ten kinds of surface."""
