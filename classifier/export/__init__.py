"""Files of a trained classifier: writing and reading them."""
