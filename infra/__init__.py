"""Engines for the Beam jobs on one machine: what starts them, nothing else."""
