"""Training the student on labeled and pseudo-labeled images together."""
