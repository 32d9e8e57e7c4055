"""Whether the polls of a run show already that a drill's alerts were at rest: then nothing has to be waited for again.

What was not seen does not count: polls that are missing or were not answered, another Prometheus, a rule that was
changed, not evaluated or without its targets, all mean that the wait is made. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from drills.engine.polled import Inputs, faults
from drills.engine.preflight import active_names
from drills.engine.watch import POLL_SECONDS, Snapshot

GAP_SECONDS = 4 * POLL_SECONDS  # between two polls, on the wall
STALE = 2.5  # intervals since a rule was last evaluated
Wanted = tuple[str, Mapping[str, str]]  # an alert's name and labels


def shown(snapshots: Sequence[Snapshot], wanted: Sequence[Wanted], inputs: Sequence[Inputs], still: float) -> bool:
    """Whether all the alerts were inactive for ``still`` wall seconds up to the last snapshot, at every poll.

    ``inputs``: what each of the alerts stands on.
    """
    if not snapshots:
        return False
    begin = snapshots[-1].at - still
    first = next((number for number, one in reversed(list(enumerate(snapshots))) if one.at <= begin), None)
    if first is None:
        return False
    seen = tuple(snapshots[first:])
    if any(later.at - earlier.at > GAP_SECONDS for earlier, later in pairwise(seen)):
        return False
    if any(one.problems.keys() & {"prometheus", "alertmanager"} for one in seen):
        return False
    if any(active_names(one, wanted) for one in seen):
        return False
    return all(not faults(seen, one) and not _stale(seen, one) for one in inputs)


def _stale(snapshots: Sequence[Snapshot], inputs: Inputs) -> bool:
    if inputs.rule is None:
        return False
    last = [rule.last_evaluation for rule in snapshots[-1].rules_named(inputs.rule)]
    return any(at is None or snapshots[-1].at - at > STALE * inputs.interval for at in last)
