"""Exit statuses of `dmf`."""

from __future__ import annotations

OK = 0
ERROR = 1
USAGE = 2
# The run is complete, but thresholds or the serving gate kept the model from being pushed.
NOT_PUSHED = 3
INTERRUPTED = 130

# The command has done what it was asked to, and what it looked for is not so.
DIFFERENT = 1
WRONG_SCORES = 1
