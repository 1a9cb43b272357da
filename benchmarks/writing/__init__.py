"""The writing job beside Beam's own TFRecord sink."""
