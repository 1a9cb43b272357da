"""A probe of pretrained features, its student, and what they are compared with."""
