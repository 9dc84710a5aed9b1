"""Trained networks at work: from photographs to masks and what is made of them."""
