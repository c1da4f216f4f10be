"""One frame: painting, scoring, retries, and the recipe in its PNG."""
