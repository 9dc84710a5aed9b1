"""Scores: pixel counts of masks, the scores of pairs and of grey maps, baselines, intervals, image-level decisions.

The names of the scores are here, without torch, for whoever reads results.
"""

SCORES = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
"""The scores of a test; see `coseg.metrics.pair_scores.PairScores`."""

DECISION_SCORES = ("decision_accuracy", "decision_auc", "foreground_auc", "false_foreground")
"""The scores of an image-level decision; see `coseg.metrics.decision.DecisionScores`."""

COSOD_SCORES = (
    "mae", "s_measure", "max_e_measure", "mean_e_measure", "adaptive_e_measure", "max_f_measure", "mean_f_measure",
    "adaptive_f_measure",
)  # fmt: skip
"""The scores of grey maps; see `coseg.metrics.cosod`."""

COSOD_MEANS = ("mean_of_images", "mean_of_groups")
"""Over what they are averaged in a test."""
