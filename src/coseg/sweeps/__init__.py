"""Many trainings: jobs of a grid, trials of a search, and what came out of them."""
