"""Base models: where their files come from, what their configurations say, and whether they fit together."""
