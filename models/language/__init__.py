"""The writer: turns a story into scenes, and scenes into prompts."""
