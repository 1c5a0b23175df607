"""The local system: AWS services, language model, workers and API on 127.0.0.1."""
