"""Training, calibrating and evaluating the teacher."""

from stage import preemption  # noqa: F401, for Ctrl-C during imports
