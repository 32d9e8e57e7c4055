"""The journal: every step of a run, on disk before the next one begins.

One JSON object a line, appended by one writer under a lock and synced, so that a killed run leaves what happened up
to its last completed step. A change is written (``change``) before it is made and closed (``undone``) after its undo
was verified; data only, never code.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drills.engine.result import Change
from drills.errors import WorldError


def left_behind(path: Path) -> list[str]:
    """The changes that a journal records as made and not as undone; none where there is no journal."""
    if not path.exists():
        return []
    made: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # cut off by the crash: its change was never made
        if entry.get("event") == "change":
            made.append(str(entry["what"]))
        elif entry.get("event") == "undone" and entry.get("what") in made:
            made.remove(entry["what"])
    return made


class Journal:
    """Append-only record of a run; safe to write from any thread."""

    def __init__(self, path: Path, now: Callable[[], str]) -> None:
        """``now`` gives the time as RFC 3339 text.

        WorldError where the file is the journal of a run that left changes behind: it is all that tells of them.
        """
        if left := left_behind(path):
            raise WorldError(
                f"{path} is the journal of a run that did not undo everything ({'; '.join(left)}): see to that, then "
                "move the file away, or choose another directory with --out."
            )
        self.path = path
        self._now = now
        self._lock = threading.Lock()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        # A lone surrogate in a text of the cluster becomes its JSON escape instead of an error in mid-run.
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        self._changes: list[Change] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, event: str, **fields: Any) -> None:
        """Append one line and sync it to the disk; after `close` this does nothing."""
        line = json.dumps({"at": self._now(), "event": event, **fields}, ensure_ascii=False, default=str)
        with self._lock:
            if self._file.closed:
                return
            self._file.write(line + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def change(self, what: str, undo: str, before: str | None = None, after: str | None = None) -> int:
        """Record a change that is about to be made; returns its number for `undone`."""
        self.write("change", what=what, undo=undo, before=before, after=after)
        with self._lock:
            self._changes.append(Change(what=what, undo=undo, before=before, after=after, undone=False))
            return len(self._changes) - 1

    def undone(self, number: int) -> None:
        """Record that the change is undone and that this was verified."""
        with self._lock:
            change = self._changes[number].model_copy(update={"undone": True})
            self._changes[number] = change
        self.write("undone", what=change.what)

    def changes(self) -> list[Change]:
        """Every change so far, in order."""
        with self._lock:
            return list(self._changes)

    def close(self) -> None:
        """Close the file; later writes of threads that are still ending are dropped."""
        with self._lock:
            self._file.close()

    def digest(self) -> str:
        """The SHA-256 of the file as it stands on disk."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()
