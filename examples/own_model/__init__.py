"""Examples of other models for the labeling job, see docs/own_model.md."""
