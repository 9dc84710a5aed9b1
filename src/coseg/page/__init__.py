"""The page of ``coseg-demo``: photographs in, masks, overlays and cut-outs out, and where they match."""
