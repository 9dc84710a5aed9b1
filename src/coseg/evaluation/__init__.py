"""Scores, references, confidence intervals, result files and pictures. This module imports nothing."""
