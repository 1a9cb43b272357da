"""Which altered copies of pictures are found, by their hash and by embeddings."""
