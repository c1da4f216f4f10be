"""The training loop, its checkpoints, and its processes."""
