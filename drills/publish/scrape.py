"""Metrics served until they were scraped once: for a pod that ends, where there is no Pushgateway."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app

from drills.engine.publications import SCRAPED_AFTER_A_SIGNAL, SCRAPED_SECONDS, host_and_port
from drills.engine.result import Result
from drills.errors import WorldError
from drills.publish.base import Announced
from drills.publish.metrics import registry_of

LAST_ANSWER = 5.0  # seconds for an answer that is under way
_STEP = 0.2  # seconds between two looks at a signal


class Scrape:
    """``HOST:PORT``, served from the beginning on, so that a port that is taken is known before anything is made.

    Who asks too early is told so instead of waiting in line: an answer to somebody who left would look like a scrape.
    """

    def __init__(self, address: str, stop: threading.Event, seconds: float = SCRAPED_SECONDS) -> None:
        """A signal (``stop``) ends the wait; after one that came before, it is short.

        InputError for what is no address, WorldError for a port that is taken.
        """
        host, port = host_and_port(address)
        self._stop = stop
        self._seconds = seconds
        self._results: list[Result] = []
        try:
            self._server: Any = make_server(host, port, _late, handler_class=_Silent)
        except OSError as error:
            raise WorldError(f"The metrics cannot be served on {address}: {error.strerror or error}.") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_STEP,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._server.server_port)

    def started(self, run: Announced) -> None:
        """Nothing to tell yet."""

    def finished(self, run: Announced, result: Result) -> None:
        """Kept until the last run of the command."""
        del run
        self._results.append(result)

    def close(self) -> None:
        """Returns once somebody scraped the metrics; WorldError if nobody did in time."""
        scraped = threading.Event()
        self._server.set_app(_telling(make_wsgi_app(registry_of(self._results)), scraped))
        try:
            self._wait(scraped)
        finally:
            self._server.shutdown()
            self._thread.join(LAST_ANSWER)
            self._server.server_close()

    def _wait(self, scraped: threading.Event) -> None:
        stopped = self._stop.is_set()
        seconds = min(self._seconds, SCRAPED_AFTER_A_SIGNAL) if stopped else self._seconds
        for _ in range(round(seconds / _STEP)):
            if scraped.wait(_STEP) or (self._stop.is_set() and not stopped):
                break
        if not scraped.is_set():
            raise WorldError(f"Nobody scraped the metrics on port {self.port} within {seconds:g} s.")


def _telling(app: Callable[..., Iterable[bytes]], scraped: threading.Event) -> Callable[..., Iterable[bytes]]:
    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/metrics":
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"The metrics are at /metrics.\n"]
        body = list(app(environ, start))
        scraped.set()
        return body

    return answer


def _late(_environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    start("503 Service Unavailable", [("Content-Type", "text/plain")])
    return [b"The run is not over.\n"]


class _Silent(WSGIRequestHandler):
    timeout = LAST_ANSWER  # a client that says nothing does not hold the server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Not to standard error, which is the log."""
