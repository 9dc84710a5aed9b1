"""Training a network with Lightning: the task, its callbacks, run directories."""
