"""Checks before any work: all problems that would stop a run, reported together."""
