"""Images: where they come from, how they are read, decoded and augmented."""
