"""Images: sources, readers, decoding and augmentation."""
