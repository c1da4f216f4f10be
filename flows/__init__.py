"""The Prefect flows, one file each."""

import os

from flows.proxies import leave_out_loopback

# Prefect reads these when it is first imported. They add the logs of models/ to the run's, and turn telemetry off.
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "models")
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")  # models/ may also be used without a flow
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

leave_out_loopback(os.environ)
