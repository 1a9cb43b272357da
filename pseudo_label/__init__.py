"""Pseudo-labels: predictions, their selection, the dataset of records, targets.

Independent of how classifiers are trained and of how jobs are run.
"""

from stage import preemption  # noqa: F401, for Ctrl-C during imports
