"""One thread a process, before anything imports numpy or torch: test files run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
