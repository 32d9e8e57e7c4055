"""How many HTTP requests a second the lab carries: published, so that a flood beyond it is refused before it starts.

What a request costs was measured from pod to pod, half of them across the tunnel, with a policy's proxy in between and
Locust's pods on the same machine, whose cores share all of it (`make bench`). A machine that is busy with other things
carries less; then the flood says so itself: it does not reach its rate.
"""

from __future__ import annotations

import os
from typing import Final

PER_CORE: Final = 1500  # requests a second of the wall; two cores carried 3040


def requests_per_second() -> int:
    """Of this machine's cores, as far as this process may use them."""
    return PER_CORE * len(os.sched_getaffinity(0))
