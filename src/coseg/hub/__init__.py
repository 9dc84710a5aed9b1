"""Checkpoints and shared models: their formats, loaded safely and without Lightning; model cards; the hub."""
