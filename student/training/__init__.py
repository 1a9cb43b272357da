"""A student's training: configuration, recipes, budget and mixture of images."""
