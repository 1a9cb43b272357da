"""Models of one's own for the labeling job; docs/own_model.md tells how to use them."""
