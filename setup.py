"""For Beam's --setup_file; everything else stands in pyproject.toml."""

from setuptools import setup

setup()
