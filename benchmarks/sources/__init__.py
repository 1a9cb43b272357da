"""Listing and reading of images in each form of a source."""
