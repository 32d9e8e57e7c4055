"""GET some JSON from Prometheus or Alertmanager, and turn every way in which that fails into one sentence.

No retries: the poller asks again anyway, and a retried answer has no honest time. Redirects are
followed, because an ingress in front of Prometheus may ask for one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from drills.errors import WorldError

_EXCERPT = 200  # characters of a body that a sentence may carry


class HttpSource:
    """One HTTP API that answers JSON. Not shared between threads: ``requests.Session`` is not thread-safe."""

    error: type[WorldError] = WorldError
    what = "the server"

    def __init__(self, url: str, *, timeout: float = 5.0, headers: Mapping[str, str] | None = None) -> None:
        """``timeout`` in seconds, for connecting and between two reads."""
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.headers = dict(headers or {})
        self.session = requests.Session()
        self.session.headers.update(self.headers)
        if _is_loopback(self.url):
            self.session.trust_env = False  # a proxy of the environment cannot reach the lab

    def get_json(self, path: str, params: Mapping[str, str | list[str]] | None = None) -> Any:
        """The decoded body of a 200 answer; raises the class's error otherwise."""
        try:
            response = self.session.get(f"{self.url}{path}", params=params, timeout=self.timeout)
        except requests.RequestException as error:
            raise self.error(self.unreachable(error)) from error
        if response.status_code != requests.codes.ok:
            raise self.error(f"{self.what} at {self.url} answered {response.status_code} to {path}: {reason(response)}")
        try:
            return response.json()
        except ValueError as error:
            raise self.error(
                f"{self.what} at {self.url} did not answer JSON to {path} (a login page, or another server?): "
                f"{response.text[:_EXCERPT]!r}"
            ) from error

    def unreachable(self, error: requests.RequestException) -> str:
        """The sentence for a request that got no answer."""
        if isinstance(error, requests.Timeout):
            return f"{self.what} at {self.url} did not answer within {self.timeout:g} s"
        if isinstance(error, requests.exceptions.SSLError):
            return f"{self.what} at {self.url}: the TLS handshake failed: {error}"
        if isinstance(error, requests.ConnectionError):
            return f"{self.what} at {self.url} cannot be reached: is the address right, and is it up?"
        return f"{self.what} at {self.url}: {error}"

    def close(self) -> None:
        """Close the connections that are kept open."""
        self.session.close()


def reason(response: requests.Response) -> str:
    """What a failed answer says: Prometheus's ``error``, Alertmanager's text, or the beginning of the body."""
    return reason_of(response.text)


def reason_of(body: str) -> str:
    """See `reason`."""
    try:
        data = json.loads(body)
    except ValueError:
        return body[:_EXCERPT].strip() or "(no text)"
    if isinstance(data, dict):
        return str(data.get("error") or data.get("message") or body[:_EXCERPT])
    return str(data)[:_EXCERPT]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
