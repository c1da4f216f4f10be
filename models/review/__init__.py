"""Review: approving or changing scenes and frames during a run."""
