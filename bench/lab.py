"""The lab as a user meets it: how long until it is ready, what it costs, how long until it is gone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

from bench import memory, prometheus
from bench.figures import DRILLS, PYTHON, Figure, timed

# What no lab could do without, by the names that the kernel shows (15 letters).
NEEDED = ("prometheus", "prometheus-aler", "alertmanager", "envoy", "postgres")


def lab() -> Iterator[Figure]:
    """``drills lab up`` and ``down``, of a lab of our own; the user's is left alone."""
    alone = prometheus.measure()
    environment = os.environ | {"DRILLS_LAB": f"bench-{os.getpid()}"}
    try:
        ready = timed([DRILLS, "lab", "up"], environment=environment)
        yield Figure("lab ready", ready, alone.ready, "Prometheus alone to its first scrape", "s", limit=10)
        yield _memory(environment)
        down = timed([DRILLS, "lab", "down"], environment=environment)
        python = timed([PYTHON, "-c", "pass"])
        yield Figure(
            "lab down", down, alone.down + python, "Prometheus alone to its end, and a Python start", "s", limit=1
        )
    finally:
        subprocess.run([DRILLS, "lab", "down"], env=environment, capture_output=True, check=False)


def _memory(environment: dict[str, str]) -> Figure:
    text = subprocess.run(
        [DRILLS, "lab", "status", "--format", "json"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    processes = memory.tree(json.loads(text)["pid"])
    needed = sum(process.pss for process in processes if process.name.startswith(NEEDED))
    return Figure(
        f"memory of the lab (PSS of {len(processes)} processes)",
        sum(process.pss for process in processes) / memory.MEGABYTE,
        needed / memory.MEGABYTE,
        "its Prometheus, Alertmanager, Envoys and PostgreSQL",
        "MB",
        limit=500,
    )
