"""Prometheus, read: rules, alerts, queries, and the facts that tell whether its answers may be believed.

Queries go through prometheus-api-client; the other endpoints, which that library does not have, by
requests. Times are seconds since the epoch by Prometheus's own clock, durations are milliseconds.
Every failure is a `PrometheusError`. Endpoints: Prometheus docs/querying/api.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import requests
import yaml
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from alerts.http import HttpSource, reason_of
from alerts.timestamps import epoch
from drills.budget import ONCE, Again, Budget
from drills.errors import WorldError
from drills.reach import Reach
from drills.units import parse_duration

T = TypeVar("T")
State = Literal["inactive", "pending", "firing", "unknown"]


class PrometheusError(WorldError):
    """Prometheus cannot be reached, or refuses what was asked."""


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """A pending or firing alert. ``active_at`` is the start of *pending*, not of firing."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: Literal["pending", "firing"]
    active_at: float
    value: float

    @property
    def name(self) -> str:
        """The ``alertname`` label."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """An alerting rule as Prometheus has loaded it; ``query`` is Prometheus's own formatting of the expression."""

    name: str
    query: str
    for_ms: int
    keep_firing_ms: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: State
    health: Literal["ok", "err", "unknown"]
    last_error: str
    last_evaluation: float | None
    evaluation_seconds: float
    alerts: tuple[ActiveAlert, ...]
    group: str
    file: str
    interval_ms: int

    def may_carry(self, labels: Mapping[str, str]) -> bool:
        """Whether its own labels do not contradict these; a templated one may become anything."""
        return all(
            "{{" in self.labels.get(key, "") or self.labels.get(key, value) == value for key, value in labels.items()
        )


@dataclass(frozen=True, slots=True)
class LoadedRecord:
    """A recording rule as Prometheus has loaded it; several may make series of one name. ``labels`` are added pairs."""

    name: str
    query: str
    labels: tuple[tuple[str, str], ...]
    health: Literal["ok", "err", "unknown"]
    last_error: str
    group: str
    interval_ms: int
    last_evaluation: float | None = field(default=None, compare=False)

    @property
    def text(self) -> tuple[object, ...]:
        """Everything that a user writes: it changes only if the rule does."""
        return self.group, self.name, self.query, self.labels


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """A rule group with its alerting rules and its recording rules."""

    name: str
    file: str
    interval_ms: int
    last_evaluation: float | None
    evaluation_seconds: float
    rules: tuple[LoadedRule, ...]
    records: tuple[LoadedRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector (a scalar has no labels)."""

    labels: Mapping[str, str]
    time: float
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One element of a range vector: (time, value) pairs in order."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """When the process started and when its configuration was last loaded: a change means another Prometheus."""

    start_time: float
    reload_success: bool
    last_config_time: float | None
    series: int


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What runs."""

    version: str
    revision: str


@dataclass(frozen=True, slots=True)
class Target:
    """One active scrape target."""

    pool: str
    url: str
    labels: Mapping[str, str]
    health: Literal["up", "down", "unknown"]
    last_error: str
    last_scrape: float | None
    interval_ms: int


@dataclass(frozen=True, slots=True)
class GlobalConfig:
    """The configuration's global intervals, and its text (secrets are masked by Prometheus)."""

    scrape_interval_ms: int
    evaluation_interval_ms: int
    text: str


class Prometheus(HttpSource):
    """A Prometheus (or something that speaks its API). One per thread."""

    error = PrometheusError
    what = "Prometheus"

    def __init__(self, at: str | Reach, *, timeout: float = 5.0, budget: Budget = ONCE) -> None:
        super().__init__(at, timeout=timeout, budget=budget)
        self._connect = PrometheusConnect(
            self.url,
            headers={},
            retry=Retry(0),
            session=self.session,
            timeout=timeout,  # type: ignore[arg-type]  # typed int, handed to requests, which takes a float
        )
        self.mount()

    def _data(self, path: str, parse: Callable[[Any], T], params: Mapping[str, str | list[str]] | None = None) -> T:
        return self.read(path, lambda answer: parse(_success(answer)), params)

    def rules(self) -> tuple[RuleGroup, ...]:
        """Every loaded rule group."""
        return self._data("/api/v1/rules", lambda data: tuple(_group(group) for group in data.get("groups") or []))

    def alerting_rules(self, name: str) -> tuple[LoadedRule, ...]:
        """The loaded alerting rules of one name; several may share it."""
        return tuple(rule for group in self.rules() for rule in group.rules if rule.name == name)

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """Everything pending or firing."""
        return self._data("/api/v1/alerts", lambda data: tuple(_active(alert) for alert in data.get("alerts") or []))

    def query(self, expression: str, at: float | None = None) -> tuple[Sample, ...]:
        """An instant vector or a scalar, now or ``at`` a time."""
        params = {} if at is None else {"time": f"{at:.3f}"}
        return self._query(lambda: self._connect.custom_query(expression, params=params), _samples)

    def query_range(self, expression: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        """A range vector, evaluated every ``step`` seconds from ``start`` to ``end``.

        prometheus-api-client 0.7.2 rounds both to whole seconds, which is half a minute in time-lapse 60: ``params`` is
        what wins over that.
        """
        return self._query(
            lambda: self._connect.custom_query_range(
                expression,
                start_time=datetime.fromtimestamp(start, tz=UTC),
                end_time=datetime.fromtimestamp(end, tz=UTC),
                step=f"{step:.3f}",
                params={"start": f"{start:.3f}", "end": f"{end:.3f}"},
            ),
            _series,
        )

    def samples(self, selector: str, end: float, seconds: float) -> tuple[Series, ...]:
        """The raw samples that the selector saw in the ``seconds`` before ``end``: times are those of the scrapes."""
        expression = f"{selector}[{max(1, round(seconds * 1000))}ms]"
        return self._query(lambda: self._connect.custom_query(expression, params={"time": f"{end:.3f}"}), _series)

    def now(self) -> float:
        """Prometheus's clock, in seconds since the epoch (milliseconds are kept)."""
        return self.query("time()")[0].value

    def metric_names(self) -> frozenset[str]:
        """The name of every metric it holds."""
        return self._data("/api/v1/label/__name__/values", lambda data: frozenset(map(str, data)))

    def runtimeinfo(self) -> RuntimeInfo:
        """See `RuntimeInfo`."""
        return self._data("/api/v1/status/runtimeinfo", _runtimeinfo)

    def buildinfo(self) -> BuildInfo:
        """See `BuildInfo`."""
        return self._data(
            "/api/v1/status/buildinfo",
            lambda data: BuildInfo(version=str(data.get("version", "")), revision=str(data.get("revision", ""))),
        )

    def targets(self) -> tuple[Target, ...]:
        """The active scrape targets."""
        return self._data(
            "/api/v1/targets",
            lambda data: tuple(_target(item) for item in data["activeTargets"]),
            {"state": "active"},
        )

    def alertmanagers(self) -> tuple[str, ...]:
        """The URLs of the Alertmanagers that alerts are sent to; empty until discovery has found one."""
        return self._data(
            "/api/v1/alertmanagers", lambda data: tuple(item["url"] for item in data.get("activeAlertmanagers") or [])
        )

    def config(self) -> GlobalConfig:
        """See `GlobalConfig`; Prometheus's own default is 1 minute for both."""
        return self._data("/api/v1/status/config", _config)

    def metadata(self) -> Mapping[str, str]:
        """The type of every metric that has one: counter, gauge, histogram, summary, unknown."""
        return self._data(
            "/api/v1/metadata",
            lambda data: {name: str(entries[0]["type"]) for name, entries in data.items() if entries},
        )

    def flags(self) -> Mapping[str, str]:
        """The command line it was started with, defaults included (``query.lookback-delta``, ...)."""
        return self._data("/api/v1/status/flags", lambda data: {str(name): str(value) for name, value in data.items()})

    def _query(self, ask: Callable[[], Any], parse: Callable[[Any], T]) -> T:
        def question() -> T:
            try:
                return parse(ask())
            except PrometheusApiClientException as error:
                raise PrometheusError(f"Prometheus at {self.name} refused a query: {_refusal(str(error))}") from None
            except requests.RequestException as error:
                if not isinstance(error, requests.exceptions.JSONDecodeError):
                    raise
                raise Again(self._no_answer()) from None
            except (LookupError, TypeError, ValueError, AttributeError):
                raise Again(self._no_answer()) from None

        return self.asked(question, "a query")

    def _no_answer(self) -> PrometheusError:
        return PrometheusError(f"{self.name} does not answer as Prometheus does: is the address right?")


def _success(answer: Any) -> Any:
    if answer["status"] != "success":
        raise ValueError(answer["status"])
    return answer["data"]


def _samples(result: Any) -> tuple[Sample, ...]:
    if len(result) == 2 and not isinstance(result[0], dict):  # a scalar: [time, "value"]
        return (Sample({}, float(result[0]), float(result[1])),)
    return tuple(Sample(item["metric"], float(item["value"][0]), float(item["value"][1])) for item in result)


def _series(result: Any) -> tuple[Series, ...]:
    return tuple(
        Series(item["metric"], tuple((float(moment), float(value)) for moment, value in item["values"]))
        for item in result
    )


def _runtimeinfo(data: Any) -> RuntimeInfo:
    return RuntimeInfo(
        start_time=epoch(data["startTime"]) or 0.0,
        reload_success=bool(data.get("reloadConfigSuccess", True)),
        last_config_time=epoch(data.get("lastConfigTime")),
        series=int(data.get("timeSeriesCount") or 0),
    )


def _config(data: Any) -> GlobalConfig:
    text = data["yaml"]
    parsed = (yaml.safe_load(text) or {}).get("global") or {}
    return GlobalConfig(
        scrape_interval_ms=parse_duration(str(parsed.get("scrape_interval", "1m"))),
        evaluation_interval_ms=parse_duration(str(parsed.get("evaluation_interval", "1m"))),
        text=text,
    )


_ABOUT_THE_QUERY = ("400", "422")


def _refusal(text: str) -> str:
    """Prometheus's own words inside prometheus-api-client's ``HTTP Status Code 400 (b'{...}')``."""
    found = re.fullmatch(r"HTTP Status Code (\d+) \((b.*)\)", text, flags=re.DOTALL)
    if not found:
        return text
    status, said = found.group(1), reason_of(ast.literal_eval(found.group(2)).decode(errors="replace"))
    return said if status in _ABOUT_THE_QUERY else f"{said} ({status})"


def _ms(seconds: Any) -> int:
    return round(float(seconds or 0) * 1000)


def _active(data: Mapping[str, Any]) -> ActiveAlert:
    return ActiveAlert(
        labels=data["labels"],
        annotations=data.get("annotations") or {},
        state=data["state"],
        active_at=epoch(data.get("activeAt")) or 0.0,
        value=float(data.get("value") or "nan"),
    )


def _group(data: Mapping[str, Any]) -> RuleGroup:
    rules = data.get("rules") or []
    return RuleGroup(
        name=data["name"],
        file=data.get("file", ""),
        interval_ms=_ms(data.get("interval")),
        last_evaluation=epoch(data.get("lastEvaluation")),
        evaluation_seconds=float(data.get("evaluationTime") or 0),
        rules=tuple(_rule(rule, data) for rule in rules if rule.get("type") == "alerting"),
        records=tuple(_record(rule, data) for rule in rules if rule.get("type") == "recording"),
    )


def _record(data: Mapping[str, Any], group: Mapping[str, Any]) -> LoadedRecord:
    return LoadedRecord(
        name=data["name"],
        query=data["query"],
        labels=tuple(sorted((data.get("labels") or {}).items())),
        health=data.get("health", "unknown"),
        last_error=data.get("lastError", ""),
        group=group["name"],
        interval_ms=_ms(group.get("interval")),
        last_evaluation=epoch(data.get("lastEvaluation")),
    )


def _rule(data: Mapping[str, Any], group: Mapping[str, Any]) -> LoadedRule:
    return LoadedRule(
        name=data["name"],
        query=data["query"],
        for_ms=_ms(data.get("duration")),
        keep_firing_ms=_ms(data.get("keepFiringFor")),
        labels=data.get("labels") or {},
        annotations=data.get("annotations") or {},
        state=data.get("state", "unknown"),
        health=data.get("health", "unknown"),
        last_error=data.get("lastError", ""),
        last_evaluation=epoch(data.get("lastEvaluation")),
        evaluation_seconds=float(data.get("evaluationTime") or 0),
        alerts=tuple(_active(alert) for alert in data.get("alerts") or []),
        group=group["name"],
        file=group.get("file", ""),
        interval_ms=_ms(group.get("interval")),
    )


def _target(data: Mapping[str, Any]) -> Target:
    return Target(
        pool=data.get("scrapePool", ""),
        url=data["scrapeUrl"],
        labels=data.get("labels") or {},
        health=data.get("health", "unknown"),
        last_error=data.get("lastError", ""),
        last_scrape=epoch(data.get("lastScrape")),
        interval_ms=parse_duration(str(data.get("scrapeInterval") or "1m")),
    )
