"""Choosing teacher and student by images, labels, machine, time and weights at hand."""
