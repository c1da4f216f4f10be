"""Redoing one frame of a finished board."""
