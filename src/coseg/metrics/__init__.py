"""Scores: pixel counts of masks, the scores of pairs, baselines, intervals, image-level decisions.

The names of the scores are here, without torch, for whoever reads results.
"""

SCORES = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
"""The scores of a test; see `coseg.metrics.pair_scores.PairScores`."""

DECISION_SCORES = ("decision_accuracy", "decision_auc", "foreground_auc", "false_foreground")
"""The scores of an image-level decision; see `coseg.metrics.decision.DecisionScores`."""
