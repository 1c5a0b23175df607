"""Training heads as a SageMaker job: what goes into it, and what AWS needs for it."""
