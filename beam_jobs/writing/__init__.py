"""The writing job."""
