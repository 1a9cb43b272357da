"""Trained classifiers at work: engines, ensembles, calibration, evaluation."""
