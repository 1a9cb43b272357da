"""Training the student, on labeled and pseudo-labeled images, and evaluating it."""

from stage import preemption  # noqa: F401, for Ctrl-C during imports
