"""What promtool cannot judge, in a real Prometheus at K = 1 and at K = 15: lookback, `absent()` and a group's interval.

promtool fixes the lookback at 5 minutes and ignores the interval of a group. Marked slow: K = 1 takes 8 minutes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from monitoring_world import World

from alerts import life as lives

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]

STEP = 15.0  # S and E, in seconds of playbook time
GROUP = 60.0  # the interval of the rules' group
LOOKBACK = 300.0
WARM_UP, AFTERWARDS = 150.0, LOOKBACK + 3 * GROUP
RULES = [
    {"alert": "Stamped", "expr": "stamped > 0"},  # with a time stamp of its own: no stale marker when it goes
    {"alert": "StampedAbsent", "expr": "absent(stamped)"},
    {"alert": "Plain", "expr": "plain > 0"},  # a stale marker ends it
    {"alert": "PlainAbsent", "expr": "absent(plain)"},
    {"alert": "Waiting", "expr": "plain > 0", "for": "1m"},
]


class Now:
    """A sample's value and the time at which it is read, in Prometheus's text format."""

    def __str__(self) -> str:
        return f"1 {round(time.time() * 1000)}"


def spells(directory: Path, k: int) -> Mapping[str, tuple[float | None, float | None]]:
    """When each alert began to be active and when it ended, in playbook seconds after both series went; None: not."""
    world = World(directory, k, f"{GROUP:g}s", live=RULES)
    try:
        world.values |= {"plain": 1.0, "stamped": Now()}  # type: ignore[dict-item]  # only its text is used
        began = time.time()
        time.sleep(WARM_UP / k)
        for name in ("plain", "stamped"):
            del world.values[name]
        gone = time.time()
        time.sleep(AFTERWARDS / k)
        until = world.prometheus.now()
        found = {}
        for rule in RULES:
            life = lives.read(
                world.prometheus, rule["alert"], {}, since=began, until=until, interval_ms=round(GROUP * 1000 / k)
            )
            last = life.spells[-1]
            over = until - last.last > 1.5 * GROUP / k
            found[rule["alert"]] = ((last.firing_at or 0) - gone) * k, (last.last - gone) * k if over else None
            if rule["alert"] == "Waiting":
                assert (last.firing_at or 0) - last.active_at == pytest.approx(GROUP / k, abs=0.1 * GROUP / k)
        return found
    finally:
        world.close()


@pytest.mark.parametrize("k", [15, 1])
def test_lookback_absence_and_group_interval(k: int, tmp_path: Path) -> None:
    """The bounds hold at both K: they are the playbook's, S and the group's interval early or late."""
    found = spells(tmp_path, k)
    late = STEP + GROUP
    _, plain_ended = found["Plain"]
    assert plain_ended is not None
    assert -late <= plain_ended <= STEP
    _, stamped_ended = found["Stamped"]
    assert stamped_ended is not None
    assert LOOKBACK - late <= stamped_ended <= LOOKBACK + STEP
    plain_began, plain_goes_on = found["PlainAbsent"]
    assert plain_goes_on is None
    assert plain_began is not None
    assert 0 <= plain_began <= late
    stamped_began, stamped_goes_on = found["StampedAbsent"]
    assert stamped_goes_on is None
    assert stamped_began is not None
    assert LOOKBACK - STEP <= stamped_began <= LOOKBACK + late
