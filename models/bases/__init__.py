"""Base models: their files, their configurations, and whether they fit together."""
