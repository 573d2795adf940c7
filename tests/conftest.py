"""Before anything imports numpy or torch: one thread a process, and hypothesis without chance."""

import os

from hypothesis import settings

# Test files run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What chance finds must not break a run that has nothing to do with it; look for more with `random`.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
