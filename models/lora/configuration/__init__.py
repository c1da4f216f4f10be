"""A training's options out of files: YAML, and those of accelerate and other trainers."""
