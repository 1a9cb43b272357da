"""The writing job, compared with Beam's own TFRecord sink."""
