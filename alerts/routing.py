"""Alertmanager's routing, read from its configuration: which routes an alert takes, how long they wait, what mutes.

The API does not tell (0.25): a route that is muted by time shows its alerts as active and sends nothing. Semantics:
Alertmanager docs/configuration.md, dispatch/route.go, timeinterval/timeinterval.go.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from drills.units import parse_duration

_INHERITED = ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval")
_DEFAULTS: dict[str, Any] = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}
_MATCHER = re.compile(r'\s*"?([^"=!~\s]+)"?\s*(=~|!~|!=|=)\s*("?)(.*?)\3\s*$', re.DOTALL)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")  # ranges start on Sunday
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """A route that takes an alert, with what it inherits. Times are milliseconds of Alertmanager's own clock."""

    receiver: str
    group_by: tuple[str, ...]
    group_wait_ms: int
    group_interval_ms: int
    repeat_interval_ms: int
    muted_by: tuple[str, ...]  # names of intervals that mute it now
    integrations: tuple[
        str, ...
    ]  # what its receiver sends to, as metrics name it (``webhook``); none swallows the alert


def routes_of(config: str, labels: Mapping[str, str], at: float) -> tuple[Route, ...]:
    """The routes that an alert with these labels takes at a time; empty for a configuration that cannot be read."""
    try:
        data = yaml.safe_load(config)
    except yaml.YAMLError:
        return ()
    return routes_in(data, labels, at)


def routes_in(data: Any, labels: Mapping[str, str], at: float) -> tuple[Route, ...]:
    """As `routes_of`, of a configuration that is read already."""
    if not isinstance(data, dict) or not isinstance(data.get("route"), dict):
        return ()
    return tuple(_route(found, data, at) for found in _matching(data["route"], _DEFAULTS, labels))


def longest_wait(config: str, labels: Mapping[str, str], at: float, receiver: str | None = None) -> float:
    """The longest (seconds) that Alertmanager may hold back an alert of its own accord: group_wait, or group_interval
    where the group exists already. Over the routes to ``receiver``, or all that it takes.
    """
    taken = routes_of(config, labels, at)
    wanted = [route for route in taken if route.receiver == receiver] or taken
    return max((max(route.group_wait_ms, route.group_interval_ms) for route in wanted), default=0) / 1000


def _matching(route: dict[str, Any], parent: dict[str, Any], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Alertmanager descends depth first; a route without a matching child takes the alert itself."""
    if not _takes(route, labels):
        return []
    own = {key: parent[key] for key in _INHERITED if key in parent} | {k: v for k, v in route.items() if k != "routes"}
    found: list[dict[str, Any]] = []
    for child in route.get("routes") or []:
        below = _matching(child, own, labels)
        found += below
        if below and not child.get("continue"):
            break
    return found or [own]


def _takes(route: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    found = matchers_in(route, "match", "match_re", "matchers")
    return all(holds(labels.get(name, ""), operator, value) for name, operator, value in found)


def matchers_in(where: Mapping[str, Any], equal: str, regex: str, matchers: str) -> Iterator[tuple[str, str, str]]:
    """The matchers of a route or of a side of an inhibition, by the keys under which its three notations stand."""
    for name, value in (where.get(equal) or {}).items():
        yield str(name), "=", str(value)
    for name, value in (where.get(regex) or {}).items():
        yield str(name), "=~", str(value)
    for text in where.get(matchers) or []:
        yield from parse_matchers(str(text)) or ()


def parse_matchers(text: str) -> list[tuple[str, str, str]] | None:
    """``severity="critical"``, several with commas between them, all in braces or not; None where it is no matcher.

    Alertmanager 0.25 pkg/labels/parse.go: a value in double quotes may hold anything, one without them no comma.
    """
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    found = []
    for part in _split(text):
        match = _MATCHER.fullmatch(part)
        if match is None:
            return None
        name, operator, _, value = match.groups()
        found.append((name, operator, value.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")))
    return found


def _split(text: str) -> Iterator[str]:
    """At commas that stand outside of quotes; a last comma is no matcher's beginning."""
    start, quoted, escaped = 0, False, False
    for at, char in enumerate(text):
        if char == "," and not quoted:
            yield text[start:at]
            start = at + 1
        quoted ^= char == '"' and not escaped
        escaped = char == "\\" and not escaped
    if text[start:].strip():
        yield text[start:]


def holds(value: str, operator: str, wanted: str) -> bool:
    """Whether a label's value (empty where it is missing) fits a matcher."""
    hit = re.fullmatch(wanted, value) is not None if "~" in operator else value == wanted
    return hit != operator.startswith("!")


def _route(own: Mapping[str, Any], config: Mapping[str, Any], at: float) -> Route:
    receiver = str(own.get("receiver", ""))
    return Route(
        receiver=receiver,
        group_by=tuple(own.get("group_by") or ()),
        group_wait_ms=_ms(own["group_wait"]),
        group_interval_ms=_ms(own["group_interval"]),
        repeat_interval_ms=_ms(own["repeat_interval"]),
        muted_by=tuple(_muting(own, config, at)),
        integrations=_integrations(receiver, config),
    )


def _ms(text: Any) -> int:
    try:
        return parse_duration(str(text))
    except ValueError:
        return 0


def _integrations(receiver: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    for one in config.get("receivers") or []:
        if one.get("name") == receiver:
            kinds = {key.removesuffix("_configs"): many or [] for key, many in one.items() if key.endswith("_configs")}
            return tuple(kind for kind, many in kinds.items() for _ in many)
    return ()


def _muting(own: Mapping[str, Any], config: Mapping[str, Any], at: float) -> Iterator[str]:
    known = {
        one.get("name"): one.get("time_intervals") or []
        for key in ("time_intervals", "mute_time_intervals")
        for one in config.get(key) or []
    }
    for name in own.get("mute_time_intervals") or []:
        if any(_contains(interval, at) for interval in known.get(name, [])):
            yield str(name)
    allowed = own.get("active_time_intervals") or []
    if allowed and not any(_contains(interval, at) for name in allowed for interval in known.get(name, [])):
        yield from (f"outside of {name}" for name in allowed)


def _contains(interval: Mapping[str, Any], at: float) -> bool:
    """Whether a time lies in an interval: every field that is given must hold."""
    now = datetime.fromtimestamp(at, tz=_zone(interval.get("location")))
    days = monthrange(now.year, now.month)[1]
    times, weekdays = interval.get("times"), interval.get("weekdays")
    dates, months, years = interval.get("days_of_month"), interval.get("months"), interval.get("years")
    return all(
        (
            not times or any(_in_times(one, now) for one in times),
            not weekdays or any(_in_names(one, (now.weekday() + 1) % 7, _WEEKDAYS, 0) for one in weekdays),
            not dates or any(_in_days(one, now.day, days) for one in dates),
            not months or any(_in_names(one, now.month, _MONTHS, 1) for one in months),
            not years or any(_in_names(one, now.year, (), 0) for one in years),
        )
    )


def _zone(name: Any) -> tzinfo:
    try:
        return ZoneInfo(str(name)) if name and name != "Local" else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _in_times(one: Mapping[str, Any], now: datetime) -> bool:
    minute = now.hour * 60 + now.minute
    return _minutes(one.get("start_time", "00:00")) <= minute < _minutes(one.get("end_time", "24:00"))


def _minutes(text: Any) -> int:
    if isinstance(text, int):  # YAML 1.1 reads 11:30 as sexagesimal minutes
        return text
    hours, _, minutes = str(text).partition(":")
    return int(hours) * 60 + int(minutes or 0)


def _in_names(text: Any, value: int, names: tuple[str, ...], first: int) -> bool:
    begin, _, end = str(text).lower().partition(":")
    return _number(begin, names, first) <= value <= _number(end or begin, names, first)


def _number(text: str, names: tuple[str, ...], first: int) -> int:
    return names.index(text) + first if text in names else int(text)


def _in_days(text: Any, day: int, days: int) -> bool:
    begin, _, end = str(text).partition(":")
    first, last = int(begin), int(end or begin)
    return (first if first > 0 else days + 1 + first) <= day <= (last if last > 0 else days + 1 + last)
