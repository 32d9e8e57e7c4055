"""What the API needs of whoever runs the containers: exec and logs. The lab's kubelets implement it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from drills.lab.api.types import Obj


class ExecError(Exception):
    """The command could not be started (program missing, container not running), or there is no log; one sentence."""


class ContainerProcess(Protocol):
    """A command that runs in a container. Its streams end when the process has closed them."""

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        """What the command writes; with a terminal, both streams."""
        ...

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        """What the command writes to standard error; empty with a terminal."""
        ...

    async def write(self, data: bytes) -> None:
        """Write to standard input; a process that no longer reads is no error."""
        ...

    async def close_stdin(self) -> None:
        """End standard input."""
        ...

    async def wait(self) -> int:
        """Wait for the end: exit status, 128 + signal if a signal ended it."""
        ...

    def kill(self) -> None:
        """End the command now; does nothing if it has ended."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size; does nothing without a terminal."""
        ...


class Containers(Protocol):
    """Containers of all pods, on whichever node they run."""

    async def exec(
        self, pod: Obj, container: str, command: Sequence[str], *, stdin: bool, tty: bool
    ) -> ContainerProcess:
        """Start a command in a running container. Raises ExecError with a sentence for the user."""
        ...

    def logs(
        self,
        pod: Obj,
        container: str,
        *,
        follow: bool,
        tail: int | None,
        since: float | None,
        previous: bool,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """Lines that the container wrote, each with its newline; the last ``tail`` of them, written after ``since``.

        ``since`` is in seconds since the epoch. With ``follow`` the iterator ends when the container does.
        Raises ExecError on the first step if there is no such log.
        """
        ...
