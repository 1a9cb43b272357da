"""Checks of configuration values; each raises ValueError with the value."""

from __future__ import annotations


def check(condition: bool, message: str) -> None:
    """Raises ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def check_rate(name: str, value: float) -> None:
    """Raises ValueError unless the value is in [0, 1)."""
    check(0.0 <= value < 1.0, f"{name} must be in [0, 1), got {value}")


def check_positive(name: str, value: float) -> None:
    """Raises ValueError unless the value is positive."""
    check(value > 0, f"{name} must be positive, got {value}")
