"""Parts of training, compared with their peers."""
