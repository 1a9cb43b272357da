"""Inference of exported classifiers: engines, ensembles, calibration, evaluation."""
