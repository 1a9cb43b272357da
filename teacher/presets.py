"""Recipes for teachers, by name."""

from __future__ import annotations

from classifier import presets
from classifier.config import TrainConfig

PRESETS: dict[str, TrainConfig] = {"tiny": presets.tiny()}
