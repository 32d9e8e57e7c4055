"""HTTP attempts: one request on a connection of its own, and as much of the answer as tells who made it.

One answer is followed: a proxy's own redirect of a path with escaped slashes to what the path means, which comes before
any policy was asked (Envoy, ``path_with_escaped_slashes_action``; Cilium sets it, ``http-normalize-path``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from drills.probe.attempt import Attempt, AttemptError, Steps
from drills.probe.config import Config

MAX_HEAD = 64 * 1024  # bytes of an answer's head; more is not HTTP
MAX_ANSWER = 256 * 1024  # bytes of everything that is read
MAX_BODY = 4096  # bytes of an answer's body that are read
SHOWN_BODY = 256
SWITCHING = 101
REDIRECT = 307
ESCAPED_SLASHES = ("%2f", "%5c")
SHOWN_HEADERS = (
    "server",
    "via",
    "content-type",
    "location",
    "x-envoy-upstream-service-time",
    "x-envoy-ratelimited",
    "grpc-status",
    "grpc-message",
)


class HttpAttempt(Attempt):
    """A request whose path is sent exactly as given; no redirect of an application is followed."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.answer = b""

    def steps(self) -> Steps:
        """Connect, send, and read until the answer is whole; where that only spells the path anew, once more."""
        yield from self._asked(self.config)
        plain = plain_path(self.config, self.record["status"], self.record["headers"])
        if plain is not None:
            assert self.socket is not None
            self.socket.close()
            self.answer = b""
            self.record.update(redirected=plain, status=None, headers={}, body="", sent=False)
            self.enter("connect")
            yield from self._asked(self.config._replace(target=plain))

    def _asked(self, config: Config) -> Steps:
        yield from self.connect()
        connection = self.socket
        assert connection is not None
        self.enter("send")
        rest = request(config)
        while rest:
            sent = yield from self.retried(partial(connection.send, rest))
            self.record["sent"] = True
            rest = rest[sent:]
        self.enter("receive")
        closed = False
        while not self._answered(closed):
            data = yield from self.retried(partial(connection.recv, 65536))
            closed = not data
            self.answer += data

    def _answered(self, closed: bool) -> bool:
        """Whether the answer is whole (or read far enough); records what is there. Raises where it is no HTTP."""
        status = 0
        while status < 200 and status != SWITCHING:  # interim answers come before the real one
            head, separator, body = self.answer.partition(b"\r\n\r\n")
            if not separator:
                self._refuse_what_is_no_head(closed)
                return False
            status, headers = _parse_head(head)
            if status < 200 and status != SWITCHING:
                self.answer = body
        content, whole = _content(headers, body, has_body=self.config.method != "HEAD" and status not in (204, 304))
        shown = {name: headers[name] for name in SHOWN_HEADERS if name in headers}
        self.record.update(status=status, headers=shown, body=_shown(content))
        if closed and not whole and _says_length(headers):
            raise AttemptError("eof", "closed before the answer was whole")
        return whole or closed or len(content) >= MAX_BODY or len(self.answer) > MAX_ANSWER

    def _refuse_what_is_no_head(self, closed: bool) -> None:
        if not closed and len(self.answer) <= MAX_HEAD and self.answer[:5] == b"HTTP/"[: len(self.answer)]:
            return
        self.record["body"] = _shown(self.answer)
        if self.answer:
            raise AttemptError("not-http", "closed in the middle of the head" if closed else "")
        raise AttemptError("eof", "closed without an answer")


def plain_path(config: Config, status: int | None, headers: Mapping[str, str]) -> str | None:
    """Where a proxy itself sends a path with escaped slashes, on the same host; None for any other answer."""
    escaped = any(one in config.target.lower() for one in ESCAPED_SLASHES)
    own = headers.get("server") == "envoy" and "x-envoy-upstream-service-time" not in headers
    if status != REDIRECT or not escaped or not own:
        return None
    location = headers.get("location", "")
    for scheme in ("http://", "https://"):
        location = location.removeprefix(scheme + (config.authority or config.host))
    return location if location.startswith("/") and not location.startswith("//") else None


def request(config: Config) -> bytes:
    """The request as it goes on the wire."""
    default = {"Host": config.authority or config.host, "User-Agent": "drills-probe", "Accept": "*/*"}
    given = {name.lower() for name in config.headers}
    body = config.body.encode()
    if body or config.method in ("POST", "PUT", "PATCH"):
        default["Content-Length"] = str(len(body))
    lines = [f"{config.method} {config.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in default.items() if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in config.headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if not first.startswith("HTTP/") or len(words) < 2 or not (words[1].isascii() and words[1].isdigit()):
        raise AttemptError("not-http", first[:80])
    pairs = (line.partition(":") for line in lines)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _says_length(headers: Mapping[str, str]) -> bool:
    return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()


def _content(headers: Mapping[str, str], body: bytes, *, has_body: bool) -> tuple[bytes, bool]:
    """The body so far, and whether it is whole."""
    if not has_body:
        return b"", True
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _unchunked(body)
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit():
        return body[: int(length)], len(body) >= int(length)
    return body, False


def _unchunked(body: bytes) -> tuple[bytes, bool]:
    content = b""
    while True:
        size_line, separator, rest = body.partition(b"\r\n")
        if not separator:
            return content, False
        try:
            size = int(size_line.partition(b";")[0], 16)
        except ValueError:
            return content, True  # no chunk: what came so far is all that can be told
        if size == 0:
            return content, True
        content += rest[:size]
        body = rest[size + 2 :]
        if len(rest) < size + 2:
            return content, False


def _shown(data: bytes) -> str:
    return data[:SHOWN_BODY].decode("utf-8", "replace")
