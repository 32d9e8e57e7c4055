"""Alertmanager's configuration and command line in the lab's time.

A user's own configuration (ConfigMap or Secret ``monitoring/alertmanager``, key ``alertmanager.yml`` or
``alertmanager.yaml``) keeps its routes, inhibitions and muted times; its group times are divided by K. What it sends
goes to the lab's receiver, because nothing else can be reached: every integration of a receiver becomes the lab's
webhook, except a webhook to ``http://receiver.lab/...``, which reaches the lab's receiver with that path
(``/webhook/NAME?status=500`` answers 500). A receiver without integrations stays silent.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from drills.errors import InputError
from drills.lab.monitoring.settings import MonitoringSettings
from drills.units import format_duration, parse_duration

LAB_HOST = "receiver.lab"
_ROUTE_TIMES = ("group_wait", "group_interval", "repeat_interval")
_WITHOUT = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}  # Alertmanager's own defaults

DEFAULT: dict[str, Any] = {
    "route": {
        "receiver": "security",
        "group_by": ["alertname", "namespace"],
        "group_wait": "0s",
        "group_interval": "1m",
        "repeat_interval": "4h",
    },
    "receivers": [{"name": "security", "webhook_configs": [{"url": f"http://{LAB_HOST}/webhook/security"}]}],
}


def config_file(settings: MonitoringSettings) -> Path:
    """Alertmanager's configuration file."""
    return settings.directory / "alertmanager.yml"


def parse_config(text: str) -> dict[str, Any]:
    """A user's configuration, read; InputError if it is no mapping or no YAML."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the Alertmanager configuration is not YAML: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("route"), dict):
        raise InputError("the Alertmanager configuration has no route")
    return data


def config(settings: MonitoringSettings, written: dict[str, Any] | None = None) -> str:
    """The text of the configuration for the lab; InputError for what cannot be understood."""
    data = copy.deepcopy(DEFAULT if written is None else written)
    own = data.setdefault("global", {}) or {}
    data["global"] = {"resolve_timeout": _scaled(own.get("resolve_timeout", "5m"), settings.k)}
    for key, value in _WITHOUT.items():
        data["route"].setdefault(key, value)
    for route in _routes(data["route"]):
        for key in _ROUTE_TIMES:
            if key in route:
                route[key] = _scaled(route[key], settings.k)
    data["receivers"] = [_receiver(receiver, settings) for receiver in data.get("receivers") or []]
    data.pop("templates", None)
    return yaml.safe_dump(data, sort_keys=False)


def command(settings: MonitoringSettings) -> list[str]:
    """The command line: alone, without a cluster port."""
    return [
        "prometheus-alertmanager",
        f"--config.file={config_file(settings)}",
        f"--storage.path={settings.directory / 'alertmanager'}",
        f"--web.listen-address={settings.alertmanager}",
        "--cluster.listen-address=",
    ]


def _routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes") or []:
        if isinstance(child, dict):
            yield from _routes(child)


def _scaled(duration: Any, k: int) -> str:
    try:
        ms = parse_duration(str(duration))
    except ValueError as error:
        raise InputError(f"the Alertmanager configuration: {error}") from error
    return format_duration(max(1, round(ms / k)) if ms else 0)


def _receiver(receiver: Any, settings: MonitoringSettings) -> dict[str, Any]:
    if not isinstance(receiver, dict) or not receiver.get("name"):
        raise InputError("the Alertmanager configuration has a receiver without a name")
    name = str(receiver["name"])
    hooks = [
        _hook(name, one, settings) for key, many in receiver.items() if key.endswith("_configs") for one in many or []
    ]
    return {"name": name, "webhook_configs": hooks} if hooks else {"name": name}


def _hook(receiver: str, integration: Any, settings: MonitoringSettings) -> dict[str, Any]:
    known = integration if isinstance(integration, dict) else {}
    url = urlsplit(str(known.get("url", "")))
    path = f"/webhook/{receiver}"
    if url.hostname == LAB_HOST:
        path = (url.path or path) + (f"?{url.query}" if url.query else "")
    return {"url": f"{settings.receiver.url}{path}", "send_resolved": bool(known.get("send_resolved", True))}
