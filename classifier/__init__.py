"""Training, export and inference of image classifiers.

Independent of teachers, students and pseudo-labels.
"""
