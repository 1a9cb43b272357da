"""The Apache Beam jobs: label images, select labels, write records."""

from stage import preemption  # noqa: F401, for Ctrl-C during imports
