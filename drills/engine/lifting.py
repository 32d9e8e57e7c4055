"""Ending a silence that a run laid, at its own end or after a crash. It can be repeated.

A silence that nobody can reach ends by itself: that is waited for, and said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

from alerts.alertmanager import Alertmanager, AlertmanagerError
from alerts.http_config import HttpConfig
from alerts.silences import Silence
from drills.engine.target import BUDGET, way_to
from drills.engine.undo import ExpireSilence, Record
from drills.engine.undone import Undone
from drills.kube import Cluster
from drills.reach import Reach

CLOCKS_SECONDS: Final = 30.0  # by which Alertmanager's clock may be behind the one that is asked here
LOOKS: Final = 25  # until every member of a cluster of Alertmanagers has heard of the end
LOOK_SECONDS: Final = 0.2

Wait = Callable[[float], object]


def lift(cluster: Cluster, record: Record, undo: ExpireSilence, at: Reach | None, wait: Wait = time.sleep) -> Undone:
    """End the silence; ``at``: its Alertmanager, if that is not reached as recorded. Never raises for what Alertmanager
    does not do; WorldError where the way to it needs credentials that cannot be read.
    """
    way = at or way_to(cluster, undo.alertmanager, HttpConfig())
    with closing(Alertmanager(way, timeout=BUDGET.answer, budget=BUDGET)) as alertmanager:
        try:
            return _lift(alertmanager, record, undo, wait)
        except AlertmanagerError as error:
            if _over(undo):
                text = f"it ended by itself at {moment(undo.ends_at)} (it could not be asked for: {error})"
                return Undone(record.what, "self-healed", text, finished=True)
            return Undone(record.what, "not-verified", f"{error}; {ends(undo.ends_at)}", finished=False)


def _lift(alertmanager: Alertmanager, record: Record, undo: ExpireSilence, wait: Wait) -> Undone:
    found = [one for one in alertmanager.silences() if undo.silence.is_this(one)]
    if not found:
        return _unknown(alertmanager, record, undo)
    standing = [one for one in found if one.stands]
    if not standing:
        ended = moment(max(one.ends_at for one in found))
        return Undone(record.what, "self-healed", f"it had ended already, at {ended}", finished=True)
    told = _suppressed(alertmanager, standing)
    for one in standing:
        alertmanager.expire_silence(one.id)
    for _ in range(LOOKS):
        if not any(one.stands for one in alertmanager.silences() if undo.silence.is_this(one)):
            text = f"ended, while {' and '.join(told)} still fires: its receiver is told now" if told else "ended"
            return Undone(record.what, "restored", text, finished=True)
        wait(LOOK_SECONDS)
    text = f"{alertmanager.name} still lists it after it was to end it; {ends(undo.ends_at)}"
    return Undone(record.what, "not-verified", text, finished=False)


def _unknown(alertmanager: Alertmanager, record: Record, undo: ExpireSilence) -> Undone:
    """It was never made, or is forgotten; at another address than the one where it was laid, that says nothing."""
    if alertmanager.name == undo.alertmanager or _over(undo):
        return Undone(record.what, "restored", "it is not there (any more)", finished=True)
    text = f"{alertmanager.name} does not know it, and it was laid at {undo.alertmanager}; {ends(undo.ends_at)}"
    return Undone(record.what, "not-verified", text, finished=False)


def _suppressed(alertmanager: Alertmanager, silences: Sequence[Silence]) -> list[str]:
    """The alerts that fire, and of which nobody is told because of these silences alone."""
    ids = {one.id for one in silences}
    return sorted({one.name for one in alertmanager.alerts() if one.silenced_by and ids >= {*one.silenced_by}})


def _over(undo: ExpireSilence) -> bool:
    return time.time() > undo.ends_at + CLOCKS_SECONDS


def ends(at: float) -> str:
    """When a silence that stands ends by itself, as the end of a sentence."""
    return f"it ends by itself at {moment(at)}"


def moment(at: float) -> str:
    """A Unix time to read."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
