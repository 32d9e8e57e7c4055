"""Follows the user's Alertmanager configuration and loads it, in the lab's time.

It is ConfigMap or Secret ``monitoring/alertmanager`` (kube-prometheus keeps it in a Secret), key ``alertmanager.yml``
or ``alertmanager.yaml``. One that amtool refuses leaves the loaded one as it is, with an Event on the object.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import subprocess
from pathlib import Path

from drills.errors import InputError, WorldError
from drills.lab.api.resources import CONFIGMAPS, SECRETS, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, name_of, namespace_of
from drills.lab.monitoring import alertmanager
from drills.lab.monitoring.events import warn
from drills.lab.monitoring.reload import reload
from drills.lab.monitoring.settings import MonitoringSettings

log = logging.getLogger("drills.lab.monitoring")

NAMESPACE, NAME = "monitoring", "alertmanager"
KEYS = ("alertmanager.yml", "alertmanager.yaml")


class RouteOperator:
    """Keeps Alertmanager's configuration equal to what the store holds; the lab's own where it holds none."""

    def __init__(self, store: Store, settings: MonitoringSettings) -> None:
        self._store = store
        self._settings = settings
        self._loaded = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Write the configuration as it is now, before Alertmanager starts, and follow what comes."""
        await self._sync(running=False)
        self._tasks = [
            asyncio.create_task(self._follow(kind), name=f"watch {kind.kind} {NAMESPACE}/{NAME}")
            for kind in (CONFIGMAPS, SECRETS)
        ]

    async def stop(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, kind: Resource) -> None:
        watch = self._store.watch(kind, since=self._store.revision)
        try:
            async for _, obj in watch:
                if (namespace_of(obj), name_of(obj)) == (NAMESPACE, NAME):
                    await self._guarded_sync()
        finally:
            watch.close()

    async def _guarded_sync(self) -> None:
        try:
            await self._sync(running=True)
        except Exception:  # the edge: a bad configuration must not end the watch
            log.exception("loading the Alertmanager configuration failed")

    async def _sync(self, *, running: bool) -> None:
        kind, obj = self._written()
        try:
            text = alertmanager.config(self._settings, None if obj is None else _parsed(kind, obj))
            await asyncio.to_thread(self._check, text)
        except InputError as error:
            self._say(kind, obj, str(error))
            if running:
                return
            text = alertmanager.config(self._settings)
        if text == self._loaded:
            return
        _replace(alertmanager.config_file(self._settings), text)
        self._loaded = text
        problem = await reload(self._settings.alertmanager.url) if running else ""
        if problem:
            self._say(kind, obj, problem)

    def _written(self) -> tuple[Resource, Obj | None]:
        for kind in (CONFIGMAPS, SECRETS):
            found = self._store.find(kind, NAMESPACE, NAME)
            if found is not None:
                return kind, found
        return CONFIGMAPS, None

    def _say(self, kind: Resource, obj: Obj | None, message: str) -> None:
        log.error("the Alertmanager configuration is not loaded: %s", message)
        if obj is not None:
            warn(self._store, kind, obj, "ConfigurationNotLoaded", message)

    def _check(self, text: str) -> None:
        candidate = alertmanager.config_file(self._settings).with_suffix(".candidate")
        candidate.write_text(text)
        try:
            done = subprocess.run(
                ["amtool", "check-config", str(candidate)], capture_output=True, text=True, timeout=20, check=False
            )
        except FileNotFoundError as error:
            raise WorldError("amtool is missing: install Alertmanager (`drills doctor` says how)") from error
        finally:
            candidate.unlink()
        if done.returncode:
            said = done.stdout.partition("FAILED:")[2] or done.stderr
            raise InputError(f"Alertmanager refuses the configuration: {' '.join(said.split())}")


def _parsed(kind: Resource, obj: Obj) -> dict[str, object]:
    data = obj.get("data") or {}
    key = next((key for key in KEYS if key in data), None)
    if key is None:
        raise InputError(f"{kind.kind} {NAMESPACE}/{NAME} has no key {KEYS[0]}")
    text = str(data[key])
    if kind is SECRETS:
        try:
            text = base64.b64decode(text).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InputError(f"Secret {NAMESPACE}/{NAME}, key {key}, is no text in base64: {error}") from error
    return alertmanager.parse_config(text)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
