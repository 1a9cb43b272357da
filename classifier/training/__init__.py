"""One training run: recipe, input, step on either backend, checkpoints."""
