"""Checkpoints compared by what they paint, and one of them chosen."""
