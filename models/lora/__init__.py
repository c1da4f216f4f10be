"""Train a character LoRA: captioned pictures in, a compared and published checkpoint out."""
