"""The encoders, one file each; what they have in common is `coseg.models.encoder`."""
