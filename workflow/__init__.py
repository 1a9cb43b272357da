"""Commands about a whole run: further rounds, contact sheets, and the report."""

from stage import preemption  # noqa: F401, for Ctrl-C during imports
