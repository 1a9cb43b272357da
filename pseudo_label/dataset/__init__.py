"""The pseudo-labeled dataset: records, card, targets, verification."""
