"""Segment photographs with a trained network, and write the results."""
