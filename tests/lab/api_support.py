"""A running API server for tests: TLS on a loopback port of its own, containers that are local subprocesses."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from drills.lab import certificates, kubeconfig
from drills.lab.api.containers import ExecError
from drills.lab.api.resources import NAMESPACES
from drills.lab.api.server import ApiServer
from drills.lab.api.store import Store

T = TypeVar("T")
KUBECTLS = [
    path for path in (Path(__file__).parents[2] / ".venv/bin/kubectl", Path("/usr/bin/kubectl")) if path.exists()
]


class LocalProcess:
    """A command as a local process; no terminal."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.size: tuple[int, int] | None = None

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return _chunks(self._process.stdout)

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        return _chunks(self._process.stderr)

    async def write(self, data: bytes) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            try:
                self._process.stdin.write(data)
                await self._process.stdin.drain()
            except ConnectionError:
                pass

    async def close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)


async def _chunks(stream: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    while stream is not None and (data := await stream.read(65536)):
        yield data


class LocalContainers:
    """Every container is this machine; its log is what the test says."""

    def __init__(self) -> None:
        self.processes: list[LocalProcess] = []
        self.lines: list[bytes] = [b"one\n", b"two\n", b"three\n"]
        self.more = asyncio.Event()
        self.ended = False

    async def exec(
        self, pod: dict[str, Any], container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> LocalProcess:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise ExecError(f'exec: "{command[0]}": executable file not found in $PATH') from error
        self.processes.append(LocalProcess(process))
        return self.processes[-1]

    async def logs(
        self, pod: dict[str, Any], container: str, *, follow: bool, tail: int | None, since: float | None,
        previous: bool, timestamps: bool,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        if previous:
            raise ExecError(f'previous terminated container "{container}" in pod not found')
        sent = max(0, len(self.lines) - tail) if tail is not None else 0
        while True:
            for line in self.lines[sent:]:
                yield line
            sent = len(self.lines)
            if not follow or self.ended:
                return
            self.more.clear()
            await self.more.wait()

    def start(self, lines: list[bytes]) -> None:
        """Begin a new log."""
        self.lines, self.ended = lines, False

    def write(self, line: bytes, *, last: bool = False) -> None:
        self.lines.append(line)
        self.ended = last
        self.more.set()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Gate = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


async def _open(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


class RunningApi:
    """An API server in a thread of its own. Every request goes through ``gate``, which a test may set."""

    gate: Gate = staticmethod(_open)

    def __init__(self, directory: Path, history: int) -> None:
        self.directory = directory
        self.token = secrets.token_urlsafe(16)
        self.config = directory / "kubeconfig"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(history),))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._loop.close()

    async def _main(self, history: int) -> None:
        self._stop = asyncio.Event()
        self.store = Store(history=history)
        self.containers = LocalContainers()
        made = await certificates.make(self.directory / "pki")
        self.server = ApiServer(self.store, self.token, self.containers)
        for name in ("default", "kube-system"):
            self.store.create(NAMESPACES, {"metadata": {"name": name}})
        app = self.server.app()

        @web.middleware
        async def through(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.gate(request, handler)

        app.middlewares.insert(0, through)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=made.server_context())
        await site.start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        self.config.write_text(kubeconfig.text("api", self.url, made.authority.read_text(), self.token))
        self._ready.set()
        await self._stop.wait()
        for connection in runner.server.connections if runner.server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()  # a client that is still there must not keep TLS from ending
        await runner.cleanup()
        await asyncio.sleep(0)

    def call(self, function: Callable[[], T]) -> T:
        """Run something in the server's loop: the Store belongs to it."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)


@contextmanager
def running_api(directory: Path, *, history: int = 8192) -> Iterator[RunningApi]:
    """A server that has ended when the block has."""
    api = RunningApi(directory, history)
    api.start()
    try:
        yield api
    finally:
        api.stop()


class Kubectl:
    """One kubectl program against one server; caches and configuration of its own."""

    def __init__(self, program: Path, api: RunningApi) -> None:
        self._program = program
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(api.directory),
            "KUBECONFIG": str(api.config),
            "KUBECACHEDIR": str(api.directory / "cache"),
        }

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the exit status."""
        return subprocess.run(
            [self._program, *arguments],
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run and expect success; what it printed on standard output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run with ``-o json``."""
        return json.loads(self(*arguments, "-o", "json"))

    def open(self, *arguments: str) -> subprocess.Popen[str]:
        """Start and leave running; the caller ends it."""
        return subprocess.Popen(
            [self._program, *arguments], env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
