"""Which predictions become pseudo-labels, and how often each is written."""
