"""The journal: every step of a run, on disk before the next one begins.

One JSON object a line, appended by one writer under a lock and synced, so that a killed run leaves what happened up
to its last completed step. A change is written (``change``) before it is made and closed (``undone``) after its undo
was verified; data only, never code.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drills.engine.records import Records
from drills.engine.recovery import patiently
from drills.engine.result import Change
from drills.engine.undo import Record, Restore, Undo, digest
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

    def __init__(
        self,
        path: Path,
        now: Callable[[], str],
        records: Records | None = None,
        run: str = "",
        playbook: str = "",
    ) -> None:
        """``now`` gives the time as RFC 3339 text; ``records`` is the cluster's, ``run`` of ``playbook`` writes there.

        WorldError where the file is the journal of a run that left changes behind: it is all that tells of them.
        """
        if left := left_behind(path):
            raise WorldError(
                f"{path} is the journal of a run that did not undo everything ({'; '.join(left)}): `drills recover` "
                "puts it back. Then move the file away, or choose another directory with --out."
            )
        self.path = path
        self._now = now
        self._lock = threading.Lock()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        # A lone surrogate in a text of the cluster becomes its JSON escape instead of an error in mid-run.
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        self._records = records
        self._run = run
        self._playbook = playbook
        self._orders = itertools.count()
        self._changes: list[Change] = []
        self._kept: list[Record | None] = []  # by the change's number

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

    def change(
        self,
        what: str,
        undo: str,
        before: str | None = None,
        after: str | None = None,
        how: Undo | None = None,
    ) -> int:
        """Record a change that is about to be made; returns its number for `undone`.

        With ``how`` the cluster has the undo when this returns, and ``before`` and ``after`` are the hashes of its
        images. WorldError if the cluster does not take it: then the change must not be made.
        """
        record = self._recorded(what, how)
        if isinstance(how, Restore):
            before, after = digest(how.before), digest(how.after)
        self.write("change", what=what, undo=undo, before=before, after=after)
        with self._lock:
            self._changes.append(Change(what=what, undo=undo, before=before, after=after, undone=False))
            self._kept.append(record)
            return len(self._changes) - 1

    def _recorded(self, what: str, how: Undo | None) -> Record | None:
        if how is None or self._records is None:
            return None
        record = Record(
            run=self._run, playbook=self._playbook, order=next(self._orders), what=what, at=self._now(), undo=how
        )
        self._records.add(record)
        return record

    def record(self, number: int) -> Record | None:
        """How to undo a change, as the cluster has it; None where it was not recorded there."""
        with self._lock:
            return self._kept[number]

    def undone(self, number: int) -> None:
        """Record that the change is undone and that this was verified."""
        with self._lock:
            change = self._changes[number].model_copy(update={"undone": True})
            self._changes[number] = change
            record = self._kept[number]
        self.write("undone", what=change.what)
        if record is None or self._records is None:
            return
        records = self._records
        try:
            patiently(lambda: records.drop(record))
        except WorldError as error:
            self.write("note", text=f"the record of {change.what} is still in the cluster: {error}")

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
