"""Readiness, liveness and startup probes, sent from the node as the kubelet does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from drills.lab import netns
from drills.lab.api.types import Obj

Exec = Callable[[Sequence[str]], Awaitable[tuple[int, bytes]]]
UNSETTLED_PERIOD = 0.2  # seconds between attempts until the first success: nobody waits 10 s for a lab


class ProbeError(Exception):
    """One attempt failed; the sentence that the kubelet would put into an Event."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed."""

    node: str  # network namespace to probe from
    address: str
    ports: dict[str, int]  # by name
    exec: Exec

    def port(self, given: object) -> int:
        """A port by number or name. Raises ProbeError for an unknown name."""
        text = str(given)
        if text.isdigit():
            return int(text)
        if text not in self.ports:
            raise ProbeError(f"couldn't find port: {text}")
        return self.ports[text]


@dataclass(slots=True)
class Threshold:
    """Turns single attempts into a verdict: so many in a row change it."""

    success: int = 1
    failure: int = 3
    settled: bool | None = None  # the verdict; None before the first
    _run: int = 0
    _last: bool | None = None

    def note(self, *, good: bool) -> bool:
        """Take an attempt's result; whether the verdict has changed."""
        self._run = self._run + 1 if good is self._last else 1
        self._last = good
        if self._run < (self.success if good else self.failure) or self.settled is good:
            return False
        self.settled = good
        return True


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict that has just changed, or (``failed`` only) an attempt that failed."""

    good: bool
    changed: bool
    message: str = ""


def ports_of(container: Obj) -> dict[str, int]:
    """Named ports of a container."""
    return {port["name"]: int(port["containerPort"]) for port in container.get("ports") or [] if port.get("name")}


async def attempts(probe: Obj, target: Target) -> AsyncGenerator[Outcome, None]:
    """Probe for ever: every change of the verdict and every failed attempt."""
    threshold = Threshold(int(probe.get("successThreshold") or 1), int(probe.get("failureThreshold") or 3))
    period = float(probe.get("periodSeconds") or 10)
    await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
    while True:
        message = ""
        try:
            await attempt(probe, target)
        except ProbeError as failure:
            message = str(failure)
        changed = threshold.note(good=not message)
        if changed or message:
            yield Outcome(not message, changed, message)
        await asyncio.sleep(period if threshold.settled else min(period, UNSETTLED_PERIOD))


async def attempt(probe: Obj, target: Target) -> None:
    """One attempt. Raises ProbeError."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        async with asyncio.timeout(timeout):
            await _once(probe, target)
    except TimeoutError:
        raise ProbeError(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise ProbeError(error.strerror or str(error)) from None


async def _once(probe: Obj, target: Target) -> None:
    if "exec" in probe:
        status, output = await target.exec(probe["exec"].get("command") or [])
        if status != 0:
            raise ProbeError(output.decode(errors="replace").strip() or f"exit status {status}")
    elif "httpGet" in probe:
        await _http(probe["httpGet"], target)
    else:
        action = probe.get("tcpSocket") or probe.get("grpc") or {}
        _, writer = await _connect(target, action.get("host"), target.port(action.get("port")), None)
        writer.close()


async def _http(action: Obj, target: Target) -> None:
    port = target.port(action.get("port"))
    headers = {header["name"]: header["value"] for header in action.get("httpHeaders") or []}
    headers = {"Host": f"{target.address}:{port}", "User-Agent": "kube-probe/1.32", "Accept": "*/*", **headers}
    lines = [f"GET {action.get('path') or '/'} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    reader, writer = await _connect(target, action.get("host"), port, action.get("scheme"))
    try:
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        words = (await reader.readline()).split()
    finally:
        writer.close()
    if len(words) < 2 or not words[1].isdigit():
        raise ProbeError("the answer is no HTTP")
    status = int(words[1])
    if not HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        raise ProbeError(f"HTTP probe failed with statuscode: {status}")


async def _connect(
    target: Target, host: str | None, port: int, scheme: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = netns.socket_in(target.node)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host or target.address, port))
        context = _no_verification() if scheme == "HTTPS" else None
        name = (host or target.address) if context else None
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    except BaseException:
        with suppress(OSError):
            sock.close()
        raise


def _no_verification() -> ssl.SSLContext:
    """As the kubelet: certificates are not looked at."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
