"""The life of an alert after the fact, from Prometheus's own samples: pending, firing, resolved, to the evaluation.

Prometheus writes ``ALERTS{alertname, alertstate, ...} 1`` at every evaluation at which an alert is pending or firing,
so the raw samples carry exact times, which no poll does. An alert is resolved at the first evaluation without a
sample. Judging that it *is* resolved, and did not merely lose its Prometheus, is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alerts.prometheus import Prometheus, Series
from alerts.promql import quote

GAP = 2.5  # evaluations without a sample that end a spell; one or two may be missed


@dataclass(frozen=True, slots=True)
class Spell:
    """One alert (label set) from pending to its end. ``last`` is its last sample; times are seconds since the epoch."""

    labels: Mapping[str, str]
    active_at: float
    firing_at: float | None
    last: float
    missed_evaluations: int = 0


@dataclass(frozen=True, slots=True)
class Life:
    """What happened to an alert in a period. Of several label sets: the earliest start, and the end of all.

    ``active_before`` tells that a spell had begun before the period. ``resolved_at`` is None while one goes on.
    """

    active_at: float | None = None
    firing_at: float | None = None
    resolved_at: float | None = None
    active_before: bool = False
    pending_until: float | None = None
    spells: tuple[Spell, ...] = ()


def selector(name: str, labels: Mapping[str, str] | None = None) -> str:
    """``ALERTS{alertname="X",severity="warning"}``."""
    wanted = {"alertname": name, **(labels or {})}
    return "ALERTS{" + ",".join(f"{key}={quote(value)}" for key, value in wanted.items()) + "}"


def read(
    prometheus: Prometheus, name: str, labels: Mapping[str, str], *, since: float, until: float, interval_ms: int
) -> Life:
    """The life of an alert between two times by Prometheus's clock; ``interval_ms`` is the rule's evaluation's."""
    margin = 3 * interval_ms / 1000  # to see whether a spell was there before
    series = prometheus.samples(selector(name, labels), until, until - since + margin)
    return life(series, since=since, until=until, interval_ms=interval_ms)


def life(series: Iterable[Series], *, since: float, until: float, interval_ms: int) -> Life:
    """See `read`; ``series`` are raw samples of ``ALERTS``."""
    spells = [spell for spell in _all_spells(series, interval_ms / 1000) if spell.last >= since]
    fresh = [spell for spell in spells if spell.active_at >= since]
    fired = [spell for spell in fresh if spell.firing_at is not None]
    return Life(
        active_at=min((spell.active_at for spell in fired or fresh), default=None),
        firing_at=min((spell.firing_at for spell in fired if spell.firing_at is not None), default=None),
        resolved_at=_resolved(fired, until, interval_ms / 1000),
        active_before=len(fresh) < len(spells),
        pending_until=max((spell.last for spell in fresh if spell.firing_at is None), default=None),
        spells=tuple(sorted(spells, key=lambda spell: spell.active_at)),
    )


def _resolved(fired: Sequence[Spell], until: float, interval: float) -> float | None:
    if not fired:
        return None
    last = max(spell.last for spell in fired)
    return last + interval if last + GAP * interval < until else None


def _all_spells(series: Iterable[Series], interval: float) -> list[Spell]:
    samples: dict[tuple[tuple[str, str], ...], list[tuple[float, bool]]] = {}
    for one in series:
        own = {key: value for key, value in one.labels.items() if key not in ("__name__", "alertstate")}
        firing = one.labels.get("alertstate") == "firing"
        samples.setdefault(tuple(sorted(own.items())), []).extend((moment, firing) for moment, _ in one.points)
    return [
        _spell(dict(labels), part, interval)
        for labels, points in samples.items()
        for part in _parts(sorted(points), interval)
    ]


def _parts(points: Sequence[tuple[float, bool]], interval: float) -> list[list[tuple[float, bool]]]:
    """Cut where samples are missing, and where firing went back to pending (it had ended in between)."""
    parts: list[list[tuple[float, bool]]] = []
    for moment, firing in points:
        before = parts[-1][-1] if parts else None
        if before is None or moment - before[0] > GAP * interval or (before[1] and not firing):
            parts.append([])
        parts[-1].append((moment, firing))
    return parts


def _spell(labels: Mapping[str, str], points: Sequence[tuple[float, bool]], interval: float) -> Spell:
    begin, end = points[0][0], points[-1][0]
    expected = round((end - begin) / interval) + 1
    return Spell(
        labels=labels,
        active_at=begin,
        firing_at=next((moment for moment, firing in points if firing), None),
        last=end,
        missed_evaluations=max(0, expected - len(points)),
    )
