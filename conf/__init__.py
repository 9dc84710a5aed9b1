"""The Hydra configuration of coseg, shipped as the package `coseg.conf`."""
