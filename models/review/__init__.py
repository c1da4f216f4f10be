"""What people approve or change in the middle of a run."""
