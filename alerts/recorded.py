"""Recording rules: what stands behind a metric that Prometheus itself makes.

An alert over ``job:denied:increase5m`` stands on the targets that the recording rule reads, looks as far back as it
does, and hears of everything one evaluation later. Matchers on a recorded metric are not carried over to what it is
made of: rather too many sources are taken for the alert's own than too few. A rule that reads itself is followed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alerts.prometheus import LoadedRecord
from alerts.promql import PromqlError, Selector, reach_ms, selectors


@dataclass(frozen=True, slots=True)
class Behind:
    """An expression with the recording rules behind it: how far back it looks, how much later it hears of a sample."""

    reach_ms: int
    delay_ms: int


def behind(expression: str, records: Sequence[LoadedRecord]) -> tuple[LoadedRecord, ...]:
    """The recording rules that an expression stands on, directly or through others. PromqlError if it is none."""
    found: list[LoadedRecord] = []
    left = [selectors(expression)]
    while left:
        new = [one for selector in left.pop() for one in _made_by(selector, records) if one not in found]
        found += dict.fromkeys(new)
        left += [_read_by(one) for one in new]
    return tuple(found)


def leaves(expression: str, records: Sequence[LoadedRecord]) -> tuple[Selector, ...]:
    """Every selector of an expression and of the recording rules behind it whose series no recording rule makes.

    One by a name pattern may select both, and stays. PromqlError if the expression is none.
    """
    made = {one.name for one in records}
    below = (selector for one in behind(expression, records) for selector in _read_by(one))
    found = dict.fromkeys([*selectors(expression), *below])
    return tuple(selector for selector in found if selector.metric not in made)


def looks_back(expression: str, records: Sequence[LoadedRecord]) -> Behind:
    """See `Behind`. PromqlError if the expression is none."""
    return Behind(_reach(expression, records), _delay(selectors(expression), records))


def _reach(expression: str, records: Sequence[LoadedRecord]) -> int:
    def below(selector: Selector) -> int:
        made = [one for one in _made_by(selector, records) if _read_by(one)]
        return max((_reach(one.query, _without(records, one)) for one in made), default=0)

    return reach_ms(expression, below)


def _delay(read: Sequence[Selector], records: Sequence[LoadedRecord]) -> int:
    made = dict.fromkeys(one for selector in read for one in _made_by(selector, records))
    return max((one.interval_ms + _delay(_read_by(one), _without(records, one)) for one in made), default=0)


def _without(records: Sequence[LoadedRecord], one: LoadedRecord) -> list[LoadedRecord]:
    return [other for other in records if other is not one]


def _made_by(selector: Selector, records: Sequence[LoadedRecord]) -> Iterator[LoadedRecord]:
    for one in records:
        if selector.metric == one.name or (selector.metric is None and _by_pattern(selector, one.name)):
            yield one


def _by_pattern(selector: Selector, name: str) -> bool:
    named = [one for one in selector.matchers if one.name == "__name__"]
    return bool(named) and all(one.passes(name) for one in named)


def _read_by(record: LoadedRecord) -> tuple[Selector, ...]:
    try:
        return selectors(record.query)
    except PromqlError:
        return ()  # valid for Prometheus, unknown to the parser
