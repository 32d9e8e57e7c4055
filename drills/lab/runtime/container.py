"""One container of a pod: start, watch, probe, start again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.lab.api.store import timestamp, utc_now
from drills.lab.api.types import Obj
from drills.lab.runtime import probes
from drills.lab.runtime.logs import LogFile
from drills.lab.runtime.process import Process
from drills.lab.runtime.sandbox import Sandbox, capabilities_of
from drills.lab.runtime.standins import Launch
from drills.lab.runtime.status import ContainerState

log = logging.getLogger("drills.lab.kubelet")

LISTENING_WITHIN = 5.0  # seconds that a stand-in gets to open its port before it counts as started anyway
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 30.0  # seconds between restarts (Kubernetes: 10 to 300)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container needs of its pod."""

    sandbox: Sandbox
    probe: Callable[[Obj], probes.Target]  # for a container's spec
    changed: Callable[[], None]  # its state has changed: publish it
    event: Callable[[str, str], None]  # reason, message: a warning about the pod


class Container:
    """A container's state and process. `run` is one start; the pod decides whether there is another."""

    def __init__(self, spec: Obj, logs: Path) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.state = ContainerState(self.name, str(spec.get("image") or ""))
        self.log: LogFile | None = None
        self.previous_log: LogFile | None = None
        self.process: Process | None = None
        self.env: dict[str, str] = {}
        self._logs = logs
        self._starts = 0

    @property
    def last_log(self) -> LogFile | None:
        """The log of the last start that has ended; None if none has."""
        if self.state.running:
            return self.previous_log
        return self.log if self.state.restarts or self.state.exit_code is not None else None

    def wait_for(self, reason: str, message: str = "") -> bool:
        """Show that the container waits, and for what; whether that is news."""
        waiting = {"reason": reason, **({"message": message} if message else {})}
        if self.state.state == {"waiting": waiting}:
            return False
        self.state.state = {"waiting": waiting}
        self.state.ready = self.state.started = False
        return True

    def stand(self) -> None:
        """Count as running and ready without a process: the lab itself plays it."""
        self._running()
        self.state.started = self.state.ready = True

    async def run(self, launch: Launch, around: Surroundings) -> int:
        """Start it and wait for its end; the exit status. To end it, kill ``process``: then the log is complete too."""
        self._open_log()
        directory = self.spec.get("workingDir")
        capabilities = None if launch.capable else capabilities_of(self.spec)
        command = around.sandbox.command(launch.argv, directory=directory, capabilities=capabilities)
        self.env = dict(launch.env)
        try:
            process = self.process = await Process.start(command, launch.env)
        except BaseException:
            self._close_log()
            raise
        self._running()
        around.changed()
        watchers = [asyncio.create_task(self._watch(process, launch, around), name=f"probes {self.name}")]
        pumps = [asyncio.create_task(self._pump("stdout", process.stdout))]
        pumps.append(asyncio.create_task(self._pump("stderr", process.stderr)))
        try:
            status = await process.wait()
        finally:
            process.kill()
            for watcher in watchers:
                watcher.cancel()
            await _settle(watchers)
            await asyncio.wait(pumps, timeout=0.5)  # a daemonised grandchild may hold the pipes
            for pump in pumps:
                pump.cancel()
            await _settle(pumps)
            self._close_log()
            self.process = None
        self._terminated(status)
        return status

    def refuse(self, message: str) -> None:
        """Show a start that failed before there was a process (exit status 128, as container runtimes do)."""
        self._open_log()
        self._close_log()
        self._running()
        self._terminated(128, "StartError", message)

    async def _watch(self, process: Process, launch: Launch, around: Surroundings) -> None:
        """Startup, then readiness and liveness side by side."""
        if launch.listens:
            await _listening(around.sandbox, launch.listens)
        target = around.probe(self.spec)
        if startup := self.spec.get("startupProbe"):
            async with contextlib.aclosing(probes.attempts(startup, target)) as outcomes:
                async for outcome in outcomes:
                    if not outcome.good:
                        around.event("Unhealthy", f"Startup probe failed: {outcome.message}")
                    if outcome.changed:
                        break
            if not outcome.good:
                process.kill()
                return
        self.state.started = True
        if not self.spec.get("readinessProbe"):
            self.state.ready = True
        around.changed()
        await asyncio.gather(self._liveness(process, target, around), self._readiness(target, around))

    async def _liveness(self, process: Process, target: probes.Target, around: Surroundings) -> None:
        probe = self.spec.get("livenessProbe")
        if not probe:
            return
        async for outcome in probes.attempts(probe, target):
            if not outcome.good:
                around.event("Unhealthy", f"Liveness probe failed: {outcome.message}")
            if outcome.changed and not outcome.good:
                around.event("Killing", f"Container {self.name} failed liveness probe, will be restarted")
                process.terminate()
                await asyncio.sleep(2)
                process.kill()

    async def _readiness(self, target: probes.Target, around: Surroundings) -> None:
        probe = self.spec.get("readinessProbe")
        if not probe:
            return
        async for outcome in probes.attempts(probe, target):
            if not outcome.good:
                around.event("Unhealthy", f"Readiness probe failed: {outcome.message}")
            if outcome.changed:
                self.state.ready = outcome.good
                around.changed()

    async def _pump(self, stream: str, chunks: AsyncIterator[bytes]) -> None:
        assert self.log is not None
        async for chunk in chunks:
            self.log.write(stream, chunk)

    def _open_log(self) -> None:
        if self.previous_log is not None:
            self.previous_log.path.unlink(missing_ok=True)
        self.previous_log = self.log
        self.log = LogFile(self._logs / self.name / f"{self._starts}.log")
        self._starts += 1

    def _close_log(self) -> None:
        if self.log is not None and not self.log.closed:
            self.log.close()

    def _running(self) -> None:
        self.state.container_id = f"drills-lab://{uuid.uuid4().hex}"
        self.state.state = {"running": {"startedAt": timestamp(utc_now())}}
        self.state.ready = self.state.started = False

    def _terminated(self, status: int, reason: str | None = None, message: str = "") -> None:
        began = (self.state.state.get("running") or {}).get("startedAt")
        ended = {
            "exitCode": status,
            "reason": reason or ("Completed" if status == 0 else "Error"),
            "startedAt": began,
            "finishedAt": timestamp(utc_now()),
            "containerID": self.state.container_id,
            **({"message": message} if message else {}),
        }
        self.state.state = {"terminated": ended}
        self.state.ready = self.state.started = False

    def again(self, delay: float) -> None:
        """Show that it waits for its next start."""
        self.state.last = self.state.state
        self.state.restarts += 1
        self.wait_for("CrashLoopBackOff", f"back-off {delay:g}s restarting failed container={self.name}")


def backoff(restarts: int) -> float:
    """Seconds before the next start."""
    return float(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(restarts, 10)))


def restarts_after(policy: str, status: int) -> bool:
    """Whether a container that ended so is started again."""
    return policy == "Always" or (policy == "OnFailure" and status != 0)


async def run_command(sandbox: Sandbox, argv: Sequence[str], env: dict[str, str]) -> tuple[int, bytes]:
    """Run a command in the pod to its end: exit status and output."""
    process = await Process.start(sandbox.command(argv), env)
    output = bytearray()
    try:
        async for chunk in process.stdout:
            output += chunk
        async for chunk in process.stderr:
            output += chunk
        return await process.wait(), bytes(output)
    finally:
        process.kill()


async def _listening(sandbox: Sandbox, port: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LISTENING_WITHIN):
            while not sandbox.listens(port):
                await asyncio.sleep(0.01)


async def _settle(tasks: Sequence[asyncio.Task[None]]) -> None:
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("a container's helper failed: %r", outcome)
