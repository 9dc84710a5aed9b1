"""Encoders: one file a library that they come from; their interface is `coseg.models.encoders.base.Encoder`."""
