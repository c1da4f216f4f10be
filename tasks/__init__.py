"""Thin Prefect tasks: each one call into models/, with a log line or an artifact."""
