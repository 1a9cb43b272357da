"""What an image classifier is and how one is trained.

Knows nothing of teachers, students or pseudo-labels.
"""
