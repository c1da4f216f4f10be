"""Everything that does the work. Imports no Prefect, so that it can be tested and used without it."""

import os

# OpenMP reads this when torch is imported, and nothing imports torch before this package. Threads that wait for others
# then sleep: where they spin, two processes that paint on one CPU take three times as long each.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
