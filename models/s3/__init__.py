"""Weights in S3, or on a server that speaks its protocol: downloaded once, checked, and published."""
