"""Loads PrometheusRule objects into the lab's Prometheus, as the Prometheus operator does, but in the lab's time.

One rule file for each object. A rule that cannot be scaled, or that Prometheus would refuse, is left out and named in
an Event and in the object's status; the others load. The status tells each loaded rule's original and scaled text:

    status: {drills: {timeLapse: 15, rules: [{group, alert, original: {expr, for}, scaled: {expr, for}}],
                      refused: [{group, name, reason, byTimeLapse}]}}

``byTimeLapse``: Prometheus itself would take the rule as it was written.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alerts.promtool import broken_rules, check_rules, dump
from alerts.rulefile import Refusal, RuleFile, rule_file
from alerts.rulefile import name_of as name_of_rule
from alerts.timelapse import ScaledRule
from drills.errors import InputError
from drills.lab.api.resources import PROMETHEUS_RULES
from drills.lab.api.store import ApiError, Store
from drills.lab.api.types import Obj, name_of, namespace_of, uid_of
from drills.lab.monitoring.events import warn
from drills.lab.monitoring.prometheus import rules_directory
from drills.lab.monitoring.reload import reload
from drills.lab.monitoring.settings import MonitoringSettings
from drills.units import format_duration

log = logging.getLogger("drills.lab.monitoring")

_GATHER_SECONDS = 0.05  # changes that come together are loaded together: a reload touches every rule


class RuleOperator:
    """Keeps the rule files equal to the PrometheusRule objects in the store."""

    def __init__(self, store: Store, settings: MonitoringSettings) -> None:
        self._store = store
        self._settings = settings
        self._specs: dict[str, str] = {}  # uid -> the spec that its file was made of
        self._dirty = asyncio.Event()
        self.synced = asyncio.Event()  # set while Prometheus has loaded what is in the store
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Write what is there and follow what comes; Prometheus need not run yet."""
        rules_directory(self._settings).mkdir(parents=True, exist_ok=True)
        self._dirty.set()
        self._tasks = [
            asyncio.create_task(self._follow(), name="watch PrometheusRules"),
            asyncio.create_task(self._load(), name="load PrometheusRules"),
        ]

    async def stop(self) -> None:
        """Stop following; the files stay."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        watch = self._store.watch(PROMETHEUS_RULES)
        try:
            async for _ in watch:
                self.synced.clear()
                self._dirty.set()
        finally:
            watch.close()

    async def _load(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._dirty.clear()
            try:
                if await self._sync():
                    await self._reload()
            except Exception:  # the edge: one bad object must not end the operator
                log.exception("loading PrometheusRules failed")
            if not self._dirty.is_set():
                self.synced.set()

    async def _reload(self) -> None:
        problem = await reload(self._settings.prometheus.url)
        while problem.startswith("no answer"):  # not up yet
            await asyncio.sleep(_GATHER_SECONDS)
            problem = await reload(self._settings.prometheus.url)
        if problem:
            log.error("Prometheus refused its rules: %s", problem)

    async def _sync(self) -> bool:
        """Make the files fit the store; whether one changed."""
        objects = {uid_of(obj): obj for obj in self._store.list(PROMETHEUS_RULES)}
        changed = False
        for uid in self._specs.keys() - objects.keys():
            del self._specs[uid]
            self._path(uid).unlink(missing_ok=True)
            changed = True
        for uid, obj in objects.items():
            spec = json.dumps(obj.get("spec"), sort_keys=True)
            if self._specs.get(uid) != spec:
                self._specs[uid] = spec
                changed = await self._write(uid, obj) or changed
        return changed

    async def _write(self, uid: str, obj: Obj) -> bool:
        try:
            made = rule_file(obj, self._settings.k)
            broken = await asyncio.to_thread(broken_rules, made.groups)
        except InputError as error:
            made, broken = RuleFile(), [Refusal("", name_of(obj), str(error))]
        inexact = await asyncio.to_thread(_sound_as_written, obj, made.refused)
        for refusal in broken:
            made.without(refusal)
        self._report(obj, made, inexact)
        text = dump(made.groups)
        path = self._path(uid)
        if path.exists() and path.read_text() == text:
            return False
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)
        return True

    def _path(self, uid: str) -> Path:
        return rules_directory(self._settings) / f"{uid}.yaml"

    def _report(self, obj: Obj, made: RuleFile, inexact: Sequence[Refusal]) -> None:
        status = {
            "drills": {
                "timeLapse": self._settings.k,
                "rules": [_told(one) for one in made.scaled],
                "refused": [
                    {"group": one.group, "name": one.name, "reason": one.reason, "byTimeLapse": one in inexact}
                    for one in made.refused
                ],
            }
        }
        try:
            self._store.set_status(PROMETHEUS_RULES, namespace_of(obj), name_of(obj), status)
            for refusal in made.refused:
                warn(self._store, PROMETHEUS_RULES, obj, "RuleNotLoaded", _sentence(refusal, self._settings.k))
        except ApiError as error:
            log.info("%s/%s went away while it was loaded: %s", namespace_of(obj), name_of(obj), error)


def _sound_as_written(obj: Obj, refused: Sequence[Refusal]) -> list[Refusal]:
    """Those of the rules that could not be scaled with which nothing is wrong but the lab's time."""
    if not refused:
        return []
    left_out = {(one.group, one.name, one.expr) for one in refused}
    groups = [
        {"name": group["name"], "rules": [rule]}
        for group in (obj.get("spec") or {}).get("groups") or ()
        for rule in group.get("rules") or ()
        if (group["name"], name_of_rule(rule), str(rule.get("expr", ""))) in left_out
    ]
    files = check_rules([[group] for group in groups])
    sound = {
        (group["name"], name_of_rule(group["rules"][0]), str(group["rules"][0].get("expr", "")))
        for group, trouble in zip(groups, files, strict=True)
        if not trouble
    }
    return [one for one in refused if (one.group, one.name, one.expr) in sound]


def _sentence(refusal: Refusal, k: int) -> str:
    return f"{refusal.name} is not loaded (time-lapse {k}): {refusal.reason}"


def _told(one: ScaledRule) -> dict[str, Any]:
    def text(rule: Any) -> dict[str, str]:
        told = {"expr": rule.expr, "for": format_duration(rule.for_ms)}
        return {**told, "keepFiringFor": format_duration(rule.keep_firing_ms)} if rule.keep_firing_ms else told

    return {
        "group": one.original.group,
        "alert": one.original.alert,
        "original": text(one.original),
        "scaled": text(one.scaled),
    }
