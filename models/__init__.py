"""Everything that does the work. Imports no Prefect, so that it can be tested and used without it."""

import os

# OpenMP reads these when torch is imported, and nothing imports torch before this package. Threads that wait for others
# look a thousand times whether there is work, for some microseconds, and then sleep: where they never look, most
# operations begin with waking them; where they look for long, two processes that paint on one CPU take three times as
# long each.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
