"""Loading of a profile's pipelines, and painting of pictures from prompts."""
