"""From a profile to loaded pipelines, and from prompts to pictures."""
