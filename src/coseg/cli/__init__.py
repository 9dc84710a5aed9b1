"""The commands: one thin file for each."""
