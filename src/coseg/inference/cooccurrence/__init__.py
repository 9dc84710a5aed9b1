"""Whether images have a common object at all: statistics of pairs, and a regression calibrated on known pairs."""
