"""Errors of a chain of stages; imports nothing heavy."""

from __future__ import annotations


class StageError(RuntimeError):
    """A stage has failed; the message has its last lines and names its log."""


class StaleError(RuntimeError):
    """Stages were made by other settings, and may not be made anew."""
