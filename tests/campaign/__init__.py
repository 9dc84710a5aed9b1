"""The campaign: kills and bad inputs by the hundred. `run.py` runs it, `docs/reliability.md` tells what it shows."""
