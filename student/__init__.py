"""Training the student, on labeled and pseudo-labeled images, and evaluating it."""
