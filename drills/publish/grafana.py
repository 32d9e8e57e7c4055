"""Annotations in Grafana: a mark on every dashboard from the run's beginning to its end.

Grafana's HTTP API, "Annotations": POST /api/annotations with epoch milliseconds answers the id, PATCH
/api/annotations/ID sets the end. The token comes from the file that DRILLS_GRAFANA_TOKEN_FILE names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from drills.engine.publications import ANSWER_SECONDS, TOKEN_FILE
from drills.engine.result import Result
from drills.errors import InputError, WorldError
from drills.publish.base import Announced


class Grafana:
    """One Grafana."""

    def __init__(self, url: str, environ: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._token = _token(os.environ if environ is None else environ)
        self._id: int | None = None
        self._began = 0

    def started(self, run: Announced) -> None:
        """WorldError where Grafana does not take it; the end then makes the whole annotation."""
        self._began = _now()
        text = f"Drill {run.playbook} has begun on {run.target}: {', '.join(run.drills)} (run {run.run})"
        answer = self._send("POST", "/api/annotations", {"time": self._began, "tags": _tags(run), "text": text})
        self._id = answer.get("id")

    def finished(self, run: Announced, result: Result) -> None:
        """WorldError where Grafana does not take it."""
        said = "; ".join(f"{drill.name}: {drill.verdict}" for drill in result.drills)
        body = {"timeEnd": _now(), "tags": [*_tags(run), result.verdict]}
        body["text"] = f"Drill {run.playbook} on {run.target}: {result.verdict} ({said}; run {run.run})"
        if self._id is None:
            self._send("POST", "/api/annotations", {**body, "time": self._began or body["timeEnd"]})
        else:
            self._send("PATCH", f"/api/annotations/{self._id}", body)

    def close(self) -> None:
        """Nothing is open."""

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            answer = requests.request(
                method, self._url + path, json=body, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False
            )
            if answer.status_code != requests.codes.ok:
                raise WorldError(f"Grafana at {self._url} did not take the annotation: HTTP {answer.status_code}.")
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise WorldError(f"Grafana at {self._url} could not be told: {type(error).__name__}.") from error
        return found if isinstance(found, dict) else {}


def _tags(run: Announced) -> list[str]:
    return ["drills", run.playbook, *run.drills]


def _now() -> int:
    return round(time.time() * 1000)


def _token(environ: Mapping[str, str]) -> str | None:
    file = environ.get(TOKEN_FILE)
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{TOKEN_FILE} names {file}, which cannot be read.") from error
