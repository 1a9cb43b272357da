"""Drawn color pictures of ten objects in front of cluttered backgrounds."""
