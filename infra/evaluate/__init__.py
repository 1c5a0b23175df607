"""The measuring command: each task trains on what it is given, measures on what it is given, and stands beside simple
baselines on the same rows (``python -m infra.evaluate --help``)."""
