"""Where a lab keeps what the host must see: a private directory per lab name, and a lock that lives as long as the lab.

The lock decides whether a lab is there, not a pid in a file: the lab's outermost process inherits the
locked file, so the kernel frees it when that process is gone, however it died.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drills.errors import InputError, WorldError

ENVIRONMENT_NAME = "DRILLS_LAB"
DEFAULT_NAME = "default"
LOG = "lab.log"
VOLATILE = ("status.json", "kubeconfig")  # gone when the lab is gone


def lab_name(environment: Mapping[str, str]) -> str:
    """The lab that ``DRILLS_LAB`` names, else ``default``; InputError for a name that could not be a directory's."""
    name = environment.get(ENVIRONMENT_NAME) or DEFAULT_NAME
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name):
        raise InputError(
            f"{ENVIRONMENT_NAME}={name!r} cannot name a lab: use up to 40 letters, digits, dots, dashes, underscores."
        )
    return name


@dataclass(frozen=True, slots=True)
class StateDir:
    """The directory of one lab: ``lock``, ``status.json``, ``kubeconfig`` and ``log/``."""

    path: Path

    @classmethod
    def of(cls, name: str, environment: Mapping[str, str]) -> StateDir:
        """The (possibly not yet existing) directory of the lab ``name``."""
        return cls(state_root(environment) / "lab" / name)

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file per program; `LOG` is the lab's own."""
        return self.path / "log"

    @property
    def log(self) -> Path:
        return self.logs / LOG

    def write(self, file: Path, text: str) -> None:
        """Replace a file of this directory at once, readable by its owner only."""
        fresh = file.with_name(f".{file.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
        fresh.rename(file)

    def lock(self) -> int | None:
        """The locked file's descriptor, for the new lab to inherit; None if a lab holds it already."""
        while True:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # somebody removed the directory in between
            if not _flock(descriptor):
                os.close(descriptor)
                return None
            if _is_file(descriptor, self.path / "lock"):
                return descriptor
            os.close(descriptor)  # locked a file that its last owner had just removed

    def alive(self) -> bool:
        """Whether a lab (being started, up, or ending) holds the lock."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _flock(descriptor)
        finally:
            os.close(descriptor)

    def owner(self) -> int | None:
        """The host's pid of the lab's outermost process, as its starter noted it; only meaningful while `alive`."""
        try:
            return int(json.loads((self.path / "lock").read_text())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note_owner(self, lock: int, pid: int) -> None:
        """Write the pid of the lab's outermost process into the locked file."""
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": pid}).encode(), 0)

    def clean(self, *, keep_logs: bool = False) -> None:
        """Remove what a lab left, unless one is there. The caller must not hold the lock itself."""
        if not self.path.exists():
            return
        descriptor = self.lock()
        if descriptor is None:
            return
        try:
            for name in VOLATILE:
                (self.path / name).unlink(missing_ok=True)
            if not keep_logs:
                for file in self.logs.glob("*"):
                    file.unlink(missing_ok=True)
                with suppress(OSError):
                    self.logs.rmdir()
            (self.path / "lock").unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()
        finally:
            os.close(descriptor)


def state_root(environment: Mapping[str, str]) -> Path:
    """``$XDG_STATE_HOME/drills``, ``~/.local/state/drills``, or a private directory in the temporary one.

    The last is for users without a home (``nobody``, some CI runners).
    """
    if configured := environment.get("XDG_STATE_HOME"):
        root = Path(configured) / "drills"
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise WorldError(f"The lab's state cannot be kept in {root} (XDG_STATE_HOME): {error.strerror}.") from None
        return root
    home = environment.get("HOME")
    if home:
        root = Path(home) / ".local/state/drills"
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if os.access(root, os.W_OK | os.X_OK):
                return root
    return _private(Path(environment.get("TMPDIR") or tempfile.gettempdir()) / f"drills-{os.getuid()}")


def _private(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise WorldError(
                f"{path} is not a private directory of this user: remove it, or set XDG_STATE_HOME to one that is."
            ) from None
    except OSError as error:
        raise WorldError(f"The lab's state cannot be kept in {path}: {error.strerror}. Set XDG_STATE_HOME.") from None
    return path


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
