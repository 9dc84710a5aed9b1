"""Trained networks at work: photographs in, masks out; models shared as safetensors, never as pickles."""
