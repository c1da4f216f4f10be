"""Judging a picture: CLIP scores, anomaly checks, and the gate that accepts or refuses it."""
