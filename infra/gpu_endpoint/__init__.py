"""The GPU endpoint: its SageMaker resources (`template.yaml`), its image, its LoRA adapters, and a trial of it."""
