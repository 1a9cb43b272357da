"""A trained classifier as files, and how it is opened."""
