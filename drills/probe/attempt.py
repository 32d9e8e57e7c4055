"""One attempt: what every kind of attempt shares, the connection and the record of what became of it."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Generator
from typing import Any, ClassVar, TypeAlias

from drills.probe.config import Config

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Steps: TypeAlias = Generator[int, None, None]  # yields what it waits for: READ or WRITE


class AttemptError(Exception):
    """An attempt that cannot go on: ``kind`` is one word for it."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


KIND_OF_ERRNO = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.EACCES: "prohibited",
    errno.EPERM: "prohibited",
}


def failure_of(error: OSError) -> AttemptError:
    """A socket's error in one of our words; ``local`` is trouble of this machine (no ports, no memory)."""
    if type(error).__name__.startswith("SSL"):
        return _tls_failure(error)
    code = error.errno or 0
    return AttemptError(KIND_OF_ERRNO.get(code, "local"), errno.errorcode.get(code, "") or str(error))


class Attempt:
    """Its socket, its clock and its record; a kind of attempt is a subclass with ``steps``."""

    looks_up: ClassVar[bool] = False  # itself, in every attempt; else the host is resolved once, before the first

    def __init__(self, config: Config, number: int, address: str | None, context: Any, lag: float) -> None:
        self.number = number
        self.socket: socket.socket | None = None
        self.began = time.monotonic()
        self.expires = self.began + config.timeout
        self.config = config
        self._context = context
        self._phase_began = self.began
        self.record: dict[str, Any] = {
            "i": number,
            "at": time.time(),
            "lag": round(lag, 6),
            "address": address,
            "port": config.port,
            "localAddress": None,
            "localPort": None,
            "phase": "resolve" if address is None else "connect",
            "error": None,
            "detail": "",
            "sent": False,
            "status": None,
            "headers": {},
            "body": "",
            "redirected": "",
            "seconds": {},
        }

    def enter(self, phase: str) -> None:
        """From here on time counts for another phase."""
        self._time_phase()
        self.record["phase"] = phase

    def end(self, failure: AttemptError | None) -> dict[str, Any]:
        """Closes the connection and says what became of the attempt."""
        self._time_phase()
        if self.socket is not None:
            self.socket.close()
        if failure is not None:
            self.record.update(error=failure.kind, detail=failure.detail[:200])
        return self.record

    def _time_phase(self) -> None:
        now = time.monotonic()
        times, phase = self.record["seconds"], self.record["phase"]
        times[phase] = round(times.get(phase, 0.0) + now - self._phase_began, 6)
        self._phase_began = now

    def connect(self) -> Steps:
        """A new connection, and TLS on it if asked for."""
        address = self.record["address"]
        if address is None:
            raise AttemptError("unresolved")
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self.socket.connect_ex((address, self.config.port))
        self._note_local_end()
        if code == errno.EINPROGRESS:
            yield WRITE
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise failure_of(OSError(code, os.strerror(code)))
        if self._context is not None:
            self.enter("tls")
            yield from self._handshake()

    def _note_local_end(self) -> None:
        assert self.socket is not None
        local = self.socket.getsockname()
        self.record.update(localAddress=local[0], localPort=local[1])

    def _handshake(self) -> Steps:
        tls = self._context.wrap_socket(self.socket, server_hostname=self.config.host, do_handshake_on_connect=False)
        self.socket = tls
        yield from self.retried(tls.do_handshake)

    def retried(self, call: Callable[[], Any]) -> Generator[int, None, Any]:
        """The result of a call on a socket, waiting as often as it would block."""
        while True:
            try:
                return call()
            except (BlockingIOError, InterruptedError):
                yield WRITE if self.record["phase"] == "send" else READ
            except OSError as error:
                wanted = _tls_wants(error)
                if wanted is None:
                    raise (
                        _tls_failure(error) if type(error).__name__.startswith("SSL") else failure_of(error)
                    ) from None
                yield wanted

    def steps(self) -> Steps:
        """The attempt itself, as a generator of what it waits for."""
        raise NotImplementedError


def _tls_wants(error: OSError) -> int | None:
    return {"SSLWantReadError": READ, "SSLWantWriteError": WRITE}.get(type(error).__name__)


def _tls_failure(error: OSError) -> AttemptError:
    reason = str(getattr(error, "reason", None) or type(error).__name__)
    if type(error).__name__ in ("SSLEOFError", "SSLZeroReturnError"):
        return AttemptError("eof", reason)
    return AttemptError("tls-alert" if "ALERT" in reason else "tls", reason)
