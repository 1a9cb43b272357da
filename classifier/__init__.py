"""Training, export and inference of image classifiers.

Independent of teachers, students and pseudo-labels.
"""

from stage import preemption  # noqa: F401, for Ctrl-C during imports
