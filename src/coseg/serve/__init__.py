"""The REST service of ``coseg-serve``, and what guards it and the page. Without torch: exported graphs need none."""
