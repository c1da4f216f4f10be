"""Thin Prefect stages: a decorator, one call into models/, one log line or artifact."""
