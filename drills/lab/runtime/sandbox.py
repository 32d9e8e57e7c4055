"""A pod's sandbox: namespaces that a pause process holds open, and commands that run in them.

Killing the pause process ends every process of the pod at once, whatever it did to hide (pid namespace).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drills.lab.netns import NETNS_DIR
from drills.lab.runtime.standins import machine_paths

PAUSE = Path(__file__).with_name("pause.py")
APPLETS = ("nc", "nslookup", "wget", "ping", "traceroute", "telnet", "vi", "less", "ps", "top", "free", "hostname")

# What Docker leaves a container (moby/profiles), without mknod: a device would be a way out to the machine.
DEFAULT_CAPABILITIES = (
    "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service", "net_raw",
    "sys_chroot", "setfcap",
)  # fmt: skip


class SandboxError(Exception):
    """The sandbox could not be made; one sentence."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a pod's files lie on the lab's own tmpfs; ``data`` is what the pod sees at /run/drills."""

    base: Path

    @property
    def root(self) -> Path:
        """Where the pod's root file system is put together."""
        return self.base / "root"

    @property
    def data(self) -> Path:
        """The pod's own directory."""
        return self.base / "data"

    @property
    def volumes(self) -> Path:
        """The pod's volumes by name."""
        return self.data / "volumes"

    def container(self, name: str) -> Path:
        """Files of a container's stand-in."""
        return self.data / "containers" / name

    def make(self) -> None:
        """Make all directories."""
        for path in (self.root, self.volumes, self.data / "bin"):
            path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Take everything away."""
        shutil.rmtree(self.base, ignore_errors=True)


class Sandbox:
    """A running sandbox. Make it with `start`."""

    def __init__(self, process: asyncio.subprocess.Process, pid: int) -> None:
        self._process = process
        self.pid = pid

    @classmethod
    async def start(
        cls,
        layout: Layout,
        netns: str,
        hostname: str,
        *,
        files: Mapping[str, str],
        mounts: Iterable[tuple[str, str]] = (),
        shares: Iterable[tuple[str, str]] = (),
    ) -> Sandbox:
        """Build the pod's file system in the network namespace. Raises SandboxError.

        ``files`` are texts in the pod's own directory that stand in for files of /etc (by name).
        """
        _add_applets(layout.data / "bin")
        for name, text in files.items():
            (layout.data / name).write_text(text)
        etc = [(f"/run/drills/{name}", f"/etc/{name}") for name in files]
        plan = {
            "root": str(layout.root),
            "hostname": hostname[:63],
            "binds": machine_paths(),
            "directory": str(layout.data),
            "shares": list(shares),
            "mounts": [*etc, *mounts],
        }
        process = await asyncio.create_subprocess_exec(
            *("nsenter", f"--net={NETNS_DIR / netns}", "--"),
            *("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child=KILL", "--"),
            *(sys.executable, "-I", "-S", str(PAUSE), json.dumps(plan)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            pid = await process.stdout.readline()
        except asyncio.CancelledError:
            process.kill()
            raise
        if not pid.strip():
            message = (await process.stderr.read()).decode(errors="replace").strip()
            await process.wait()
            raise SandboxError(message or "the pod's first process ended at once")
        return cls(process, int(pid))

    def command(
        self,
        argv: Sequence[str],
        *,
        directory: str | None = None,
        capabilities: Iterable[str] | None = DEFAULT_CAPABILITIES,
        terminal: bool = False,
    ) -> list[str]:
        """The machine's command that runs ``argv`` inside. ``capabilities`` None leaves all of them."""
        words = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--uts", "--"]
        if terminal:
            words += ["setsid", "--ctty", "--wait"]
        if capabilities is not None:
            kept = ",".join(["-all", *(f"+{name}" for name in capabilities)])
            words += ["setpriv", "--no-new-privs", f"--bounding-set={kept}", "--inh-caps=-all", "--"]
        if directory:
            words += ["env", f"--chdir={directory}", "--"]
        return [*words, *argv]

    def has_program(self, name: str, path: str) -> bool:
        """Whether a command can be found inside, by PATH or as an absolute path."""
        inside = Path(f"/proc/{self.pid}/root")
        if "/" in name:
            return _is_there(inside, name)
        return any(_is_there(inside, f"{directory}/{name}") for directory in path.split(":"))

    def listens(self, port: int) -> bool:
        """Whether something in the pod listens on a TCP port."""
        wanted = f":{port:04X}"
        for table in ("tcp", "tcp6"):
            with suppress(OSError):
                for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                    words = line.split()
                    if words[1].endswith(wanted) and words[3] == "0A":
                        return True
        return False

    async def stop(self) -> None:
        """End every process of the pod, now."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def capabilities_of(container: Mapping[str, object]) -> tuple[str, ...]:
    """The capabilities that a container's securityContext leaves it, lower case and without CAP\\_."""
    context = container.get("securityContext")
    context = context if isinstance(context, dict) else {}
    changes = context.get("capabilities") or {}
    drop = {_capability(name) for name in changes.get("drop") or []}
    add = {_capability(name) for name in changes.get("add") or []}
    kept = set() if "all" in drop else set(DEFAULT_CAPABILITIES) - drop
    return tuple(sorted(kept | (add & {*DEFAULT_CAPABILITIES, "net_admin"})))


def _capability(name: str) -> str:
    return str(name).lower().removeprefix("cap_")


def _is_there(inside: Path, name: str) -> bool:
    # lexists: a link's absolute target would be looked up in the wrong root
    place = inside / name.lstrip("/")
    return place.is_symlink() or (place.exists() and not place.is_dir())


def _add_applets(directory: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        return
    for name in APPLETS:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(busybox)
