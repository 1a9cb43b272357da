"""Pseudo-labels: predictions, their selection, the dataset of records, targets.

Independent of how classifiers are trained and of how jobs are run.
"""
