"""The lab's long-running programs: started from the main thread, each with a log of its own, ended together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from drills.errors import WorldError
from drills.lab.netns import NETNS_DIR

LOGS = Path("/run/drills/log")

log = logging.getLogger("drills.lab.daemons")

Ended = Callable[[str, int], None]


class Daemons:
    """Child processes by name. Use it from the event loop only, and let that loop run in the main thread:

    programs with PR_SET_PDEATHSIG (Envoy) die with the *thread* that spawned them.
    """

    def __init__(self, logs: Path = LOGS) -> None:
        self._logs = logs
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}

    async def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        netns: str | None = None,
        log: Path | None = None,
        stdout: int | None = None,
        on_end: Ended | None = None,
    ) -> asyncio.subprocess.Process:
        """Start ``argv`` (in the network namespace, if one is named) with its output appended to ``log``.

        ``stdout=asyncio.subprocess.PIPE`` keeps standard output for the caller, who then must read it. ``on_end`` is
        told the exit status if the program ends before `stop` is called. WorldError if the program is missing.
        """
        if name in self._processes:
            raise WorldError(f"The lab's {name} is already running.")
        command = [*_enter(netns), *argv]
        path = log or self._logs / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as sink:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=sink if stdout is None else stdout,
                    stderr=sink,
                    env=None if env is None else {**os.environ, **env},
                    cwd=cwd,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise WorldError(f"The program {argv[0]} is missing: `drills doctor` says what brings it.") from None
        self._processes[name] = process
        self._watchers[name] = asyncio.create_task(self._watch(name, process, on_end), name=f"watch {name}")
        return process

    async def stop(self, name: str, *, grace: float = 0.5) -> None:
        """End the program: SIGTERM, and after ``grace`` seconds SIGKILL. Nothing happens if it is not running."""
        process = self._processes.pop(name, None)
        watcher = self._watchers.pop(name, None)
        if process is None or watcher is None:
            return
        watcher.cancel()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM if grace > 0 else signal.SIGKILL)
        try:
            await asyncio.wait_for(process.wait(), grace or 5)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def running(self, name: str) -> bool:
        """Whether the program has been started and has not ended."""
        process = self._processes.get(name)
        return process is not None and process.returncode is None

    def log_of(self, name: str) -> Path:
        """Where the program's output goes, unless `start` was told otherwise."""
        return self._logs / f"{name}.log"

    async def _watch(self, name: str, process: asyncio.subprocess.Process, on_end: Ended | None) -> None:
        status = await process.wait()
        self._processes.pop(name, None)
        self._watchers.pop(name, None)
        log.error("%s ended with status %d; its log is %s", name, status, self.log_of(name))
        if on_end is not None:
            on_end(name, status)


def _enter(netns: str | None) -> list[str]:
    # nsenter only changes the network namespace; `ip netns exec` would also remount /sys
    return [] if netns is None else ["nsenter", f"--net={NETNS_DIR / netns}", "--"]
