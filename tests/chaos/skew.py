"""A process whose clock is wrong: ``CHAOS_SKEW`` in its environment says by how many seconds.

The rule of this file: it is imported before anything asks for the time, and turns only the clock of the wall; the one
that never jumps is the kernel's.
"""

import os
import time

SKEW = "CHAOS_SKEW"

if SKEW in os.environ:
    _by = float(os.environ[SKEW])
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + _by
    time.time_ns = lambda: _time_ns() + round(_by * 1e9)
