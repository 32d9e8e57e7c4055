"""Commands in containers, over one WebSocket each: input that stays open, output line by line, an end that is sure.

One thread reads and writes a stream's socket (the one that iterates ``lines``), because an SSL socket of Python 3.11
must not be used by two at once; others hand it their input through a queue and a pipe that wakes it.
"""

from __future__ import annotations

import json
import os
import select
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import websocket
from kubernetes.stream.ws_client import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL, WSClient

from drills.budget import Again, within
from drills.errors import WorldError
from drills.kube.api import Api, core, failure, refusal

LOOK_SECONDS = 0.25  # how long a stop may go unnoticed
_KEPT_ERRORS = 4096  # characters of standard error

_connect: Any = WSClient  # which has no types


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    lines: tuple[str, ...]
    errors: str
    status: int


class Stream:
    """A command that runs in a container. Use it as a context manager: leaving it closes the command's input."""

    def __init__(self, socket: Any, what: str) -> None:
        self._socket = socket
        self._what = what
        self._waiting: deque[str] = deque()
        self._closing = threading.Lock()  # nobody writes to the pipe while it is being closed
        self._wake_reader, self._wake_writer = os.pipe()
        self._errors = ""
        self._rest = ""
        self._broken: str | None = None
        self._status_of_closed: int | None = None
        self._end = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; the container's runtime closes the command's input."""
        if self._socket is None:
            return
        self.status()  # while what the API said last can still be read
        web_socket = self._socket.sock
        try:
            self._socket.close(timeout=1)
        except (OSError, websocket.WebSocketException):
            pass  # it is gone already
        finally:
            web_socket.shutdown()  # close() leaves the socket open where the server closed first
            with self._closing:
                self._socket = None
                os.close(self._wake_reader)
                os.close(self._wake_writer)

    def send(self, text: str) -> None:
        """A line of input, from any thread; it is written by whoever iterates ``lines``."""
        self._waiting.append(text + "\n")
        with self._closing:
            if self._socket is not None:
                os.write(self._wake_writer, b"\0")

    def lines(self, until: float, stop: threading.Event | None = None) -> Iterator[str]:
        """Lines of standard output until the command ends, ``until`` (monotonic clock) or the stop event."""
        while time.monotonic() < until and not (stop is not None and stop.is_set()):
            self._write()
            alive = self._socket is not None and self._socket.is_open()
            if alive:
                self._receive(min(LOOK_SECONDS, until - time.monotonic()))
            yield from self._complete_lines()
            if not alive:
                break
        if self._rest and not self._socket_open():
            rest, self._rest = self._rest, ""
            yield rest

    def failure(self) -> str | None:
        """Why the command did not end well, in words; None if it did."""
        if self._broken is not None:
            return self._broken
        if self._socket_open():
            return "it did not end"
        status = self.status()
        if status == 0:
            return None
        if status is None:
            return "the connection was lost before it ended"
        said = self._errors.strip().splitlines() or self._end.splitlines()
        return f"it ended with status {status}" + (f": {said[-1][:200]}" if said else "")

    @property
    def lost(self) -> bool:
        """Whether the connection ended before the command did."""
        return self._broken is not None or (not self._socket_open() and self.status() is None)

    def status(self) -> int | None:
        """The exit status; None while it runs, or if the connection ended before it was told."""
        if self._socket is None or self._socket.is_open():
            return self._status_of_closed
        if self._status_of_closed is None:
            self._status_of_closed, self._end = _end_of(self._socket.read_channel(ERROR_CHANNEL))
        return self._status_of_closed

    @property
    def errors(self) -> str:
        """The end of standard error."""
        return self._errors

    def _socket_open(self) -> bool:
        return self._socket is not None and self._socket.is_open()

    def _write(self) -> None:
        while self._waiting and self._socket_open():
            try:
                self._socket.write_stdin(self._waiting.popleft())
            except (OSError, websocket.WebSocketException) as error:
                self._lose(error)

    def _receive(self, seconds: float) -> None:
        raw = self._socket.sock.sock
        buffered = isinstance(raw, ssl.SSLSocket) and raw.pending()
        if not buffered:
            poll = select.poll()
            poll.register(raw, select.POLLIN)
            poll.register(self._wake_reader, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
            if self._wake_reader in ready:
                os.read(self._wake_reader, 4096)
            if raw.fileno() not in ready:
                return
        try:
            self._socket.update(timeout=0)
            self._rest += self._socket.read_channel(STDOUT_CHANNEL)
            self._errors = (self._errors + self._socket.read_channel(STDERR_CHANNEL))[-_KEPT_ERRORS:]
        except (OSError, websocket.WebSocketException) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        self._broken = f"the connection to {self._what} was lost: {error or type(error).__name__}"
        self.close()

    def _complete_lines(self) -> Iterator[str]:
        self.status()
        *lines, self._rest = self._rest.split("\n")
        yield from lines


def _end_of(said: str) -> tuple[int | None, str]:
    """Exit status and message of the Status object that the API sends at the end; 255 where it has no number."""
    try:
        status = json.loads(said)
    except ValueError:
        return None, ""
    if status.get("status") == "Success":
        return 0, ""
    message = str(status.get("message", ""))
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdigit():
            return int(cause["message"]), ""
    return 255, message


def _settle(found: Future[Any], *, value: Any = None, error: Exception | None = None) -> bool:
    """Hand over what came of something; False where nobody waits for it any more."""
    if not found.set_running_or_notify_cancel():
        return False
    if error is None:
        found.set_result(value)
    else:
        found.set_exception(error)
    return True


class ExecApi(Api):
    """Commands in containers."""

    def exec(
        self,
        namespace: str,
        pod: str,
        command: Sequence[str],
        container: str | None = None,
        *,
        repeatable: bool = False,
    ) -> Stream:
        """Start a command with its input open. KubeError where it cannot be started.

        Tried again within the budget where the API refused the connection in passing, because then nothing was started;
        ``repeatable``: also where nobody knows, because it does no harm if it is started twice.
        """
        what = f"{namespace}/{pod}"
        doing = f"run {command[0]} in {what}"
        query = [("command", word) for word in command] + [(name, "true") for name in ("stdin", "stdout", "stderr")]
        query += [] if container is None else [("container", container)]
        address = "ws" + self.address.removeprefix("http")
        url = f"{address}{core('pods', namespace, pod, 'exec')}?{urlencode(query)}"

        def step() -> Stream:
            try:
                return Stream(self._connected(url), what)
            except websocket.WebSocketBadStatusException as error:
                said = str(error).partition(" -+-+- ")[0]
                after = (error.resp_headers or {}).get("retry-after")
                refused = refusal(doing, error.status_code, error.resp_body, said, after)
                raise (Again(refused, refused.after) if refused.passing else refused) from None
            except (ConnectionRefusedError, ssl.SSLError) as error:  # before anything was asked for
                raise Again(failure(doing, error, self.address)) from None
            except (OSError, websocket.WebSocketException) as error:
                lost = failure(doing, error, self.address)
                raise (Again(lost) if repeatable else lost) from None

        return within(self.budget, step)

    def _connected(self, url: str) -> Any:
        """The client of a command that runs. TimeoutError where the API does not answer.

        WSClient takes no timeout (kubernetes 37 stream/ws_client.py), so its handshake is waited for from outside; one
        that comes too late is closed by the thread that waited on.
        """
        found: Future[Any] = Future()

        def connect() -> None:
            try:
                socket = _connect(self._configuration, url, self.credentials(), capture_all=False)
            except Exception as error:  # noqa: BLE001 - it is raised again by whoever waits
                _settle(found, error=error)
                return
            socket.sock.settimeout(self.budget.answer)  # between the parts of a message
            if not _settle(found, value=socket):
                socket.sock.shutdown()

        threading.Thread(target=connect, name="exec", daemon=True).start()
        try:
            return found.result(self.budget.answer)
        except TimeoutError:
            if found.cancel():
                raise
            return found.result()

    def run(
        self,
        namespace: str,
        pod: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        seconds: float = 10.0,
        stop: threading.Event | None = None,
        repeatable: bool = False,
    ) -> Finished:
        """Run a command to its end. WorldError if it does not end within the time, or with another status than 0.

        ``repeatable``: one that only reads, and is run again where the connection was lost before its end.
        """

        def step() -> Finished:
            with self.exec(namespace, pod, command, container, repeatable=repeatable) as stream:
                lines = tuple(stream.lines(time.monotonic() + seconds, stop))
                failure = stream.failure()
                if failure is not None:
                    error = WorldError(f"{' '.join(command[:3])} in {namespace}/{pod} failed: {failure}")
                    raise Again(error) if repeatable and stream.lost else error
                return Finished(lines, stream.errors, stream.status() or 0)

        return within(self.budget, step)
