"""From a trained network to graphs that a server runs, checked in their own runtime."""
