"""The sample catalogue and behaviour that `make run` loads."""
