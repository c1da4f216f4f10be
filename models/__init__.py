"""Everything that does the work. Imports no Prefect, so that it can be tested and used without it."""

import os

# OpenMP reads this when torch is first imported, and torch is imported by nothing before this package. Threads that wait
# at a barrier sleep; otherwise they spin, and two processes that paint on one CPU take three times as long each.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
