"""Speed, side by side with what a person would use instead. Run by hand; the suite has no timing limits."""
