"""The frozen base with a fresh LoRA on it."""
