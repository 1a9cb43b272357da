"""Leaked and duplicate images of the corpus."""
