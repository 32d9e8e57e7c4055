"""The files that a run leaves: ``result.json`` and ``junit.xml`` for scripts and CI, ``report.html`` for people.

Each is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from drills.engine.result import Result, Verdict
from drills.engine.verdict import worst
from drills.errors import InputError, WorldError
from drills.report import record

RESULT = "result.json"
JUNIT = "junit.xml"
REPORT = "report.html"
SUMMARY = "summary.json"


def write(result: Result, directory: Path) -> list[Path]:
    """Write the reports of one playbook into ``directory`` (made if it is not there), where its journal is read.

    They are made from what the file says, as `again` makes them. WorldError if that fails.
    """
    path = write_text(directory / RESULT, result.to_json())
    return [path, *_reports(read_result(path), directory)]


def again(directory: Path) -> list[Path]:
    """Make the reports again from the result and the journal in ``directory``, or in the directory of each playbook
    of a run of several. InputError where there is no result.
    """
    if (directory / record.JOURNAL).exists() and not (directory / RESULT).exists():
        raise InputError(
            f"{directory} has a {record.JOURNAL} and no {RESULT}: that run did not finish, so there is nothing to "
            "report. The journal tells how far it came; drills recover undoes what it left."
        )
    if (directory / RESULT).exists() or not (directory / SUMMARY).exists():
        return _reports(read_result(directory), directory)
    places = sorted(path.parent for path in directory.glob(f"*/{RESULT}"))
    if not places:
        raise InputError(f"{directory} has a {SUMMARY} and no results: the directories of its playbooks are gone.")
    results = [(read_result(place), place) for place in places]  # all of them, before anything is written
    return [path for result, place in results for path in _reports(result, place)]


def _reports(result: Result, directory: Path) -> list[Path]:
    # Only the cluster's extra brings junitparser and jinja2.
    from drills.report.html import page  # noqa: PLC0415
    from drills.report.junit import junit_xml  # noqa: PLC0415

    return [
        write_text(directory / JUNIT, junit_xml(result)),
        write_text(directory / REPORT, page(result, record.read(directory))),
    ]


def write_summary(results: Sequence[Result], directory: Path, unfinished: Sequence[str] = ()) -> Path:
    """``summary.json`` of a run of several playbooks, whose reports lie in ``directory/<playbook>/``.

    ``unfinished``: the playbooks that came to no result; with one of them the whole has not passed.
    """
    verdicts: list[Verdict] = [result.verdict for result in results]
    summary = {
        "schema": "drills/summary/v1",
        "verdict": worst([*verdicts, "inconclusive"] if unfinished else verdicts),
        "playbooks": [
            *(
                {"name": result.playbook, "verdict": result.verdict, "result": f"{result.playbook}/{RESULT}"}
                for result in results
            ),
            *({"name": name, "verdict": None, "result": None} for name in unfinished),
        ],
    }
    return write_text(directory / SUMMARY, json.dumps(summary, indent=2) + "\n")


def read_result(path: Path) -> Result:
    """A result that was written before; ``path`` is the file or its directory. InputError if it is not one."""
    path = path / RESULT if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read: {_why(error)}. Name the directory that drills run --out wrote."
        ) from error
    try:
        return Result.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise InputError(f"{path} is not a result of drills ({place}: {first['msg']}).") from error


def directory(path: Path) -> Path:
    """The directory that takes the results, made if it is not there; WorldError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorldError(f"{path} cannot be made: {_why(error)}. Choose another directory with --out.") from error
    return path


def write_text(path: Path, text: str) -> Path:
    """Put ``text`` where ``path`` says by a temporary file beside it, so that nobody ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(temporary, text)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise WorldError(f"{path} cannot be written: {_why(error)}. Choose another directory with --out.") from error
    return path


def _write_synced(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
