"""The writer: a story becomes scenes, and scenes become prompts."""
