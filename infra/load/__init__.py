"""Load and fuzzing of the running local system, on 127.0.0.1 alone."""
