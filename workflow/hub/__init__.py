"""Uploading artifacts to repositories of the Hugging Face Hub."""
