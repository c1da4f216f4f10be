"""What would stop a run, told at once and before any work."""
