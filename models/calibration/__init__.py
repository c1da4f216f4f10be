"""A character's calibration: pictures of him and of others -> thresholds, kept beside his LoRA."""
