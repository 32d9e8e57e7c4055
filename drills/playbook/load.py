"""From a file to a playbook: read, check against the schema, fill the defaults in, check what a schema cannot say."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from drills.errors import InputError, SourceError
from drills.playbook.checks import complaints
from drills.playbook.complaint import source_error
from drills.playbook.fields import FROM_FILE
from drills.playbook.model import Control, Drill, Notify, OneControl, Playbook, Spec, Under
from drills.source import Document, KeyPath, load_documents, parse_documents

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


class PlaybookError(SourceError):
    """Everything that is wrong with a playbook, a line for each, in the order of the file."""

    def __init__(self, errors: list[SourceError]) -> None:
        ordered = sorted(errors, key=lambda error: (error.place.line, error.place.column))
        super().__init__(ordered[0].place, ordered[0].message)
        self.errors = tuple(ordered)
        self.args = ("\n".join(dict.fromkeys(str(error) for error in ordered)),)


def load(path: Path) -> Playbook:
    """The playbook in a file. PlaybookError, SourceError or InputError say, with the place, what is wrong with it."""
    return _with_files(_only(load_documents(path), path), path)


def _with_files(playbook: Playbook, path: Path) -> Playbook:
    """Names of files as paths: a playbook names them relative to itself. PlaybookError where one is not there."""
    drills = list(playbook.drills)
    for index, drill in enumerate(drills):
        flood = drill.inject.flood
        if flood is None or flood.locustfile is None:
            continue
        file = path.parent / flood.locustfile
        if not file.is_file():
            where: KeyPath = ("spec", "drills", index, "inject", "flood", "locustfile")
            document = load_documents(path)[0]
            raise PlaybookError([document.error(where, f"there is no file {file}")])
        named = flood.model_copy(update={"locustfile": str(file)})
        drills[index] = drill.model_copy(update={"inject": drill.inject.model_copy(update={"flood": named})})
    spec = playbook.spec.model_copy(update={"drills": tuple(drills)})
    return playbook.model_copy(update={"spec": spec})


def parse(text: str, file: Path | str) -> Playbook:
    """As ``load``, of a text that is there already; ``file`` is what errors name."""
    return _only(parse_documents(text, file), file)


def json_schema() -> dict[str, Any]:
    """The playbook's JSON Schema (2020-12), for editors and for ``drills schema``."""
    return {"$schema": SCHEMA_ID, **Playbook.model_json_schema(by_alias=True), "title": "drills playbook"}


@cache
def _schema() -> dict[str, Any]:
    return json_schema()  # 30 ms


def _only(documents: list[Document], file: Path | str) -> Playbook:
    if not documents:
        raise InputError(f"{file} is empty; a playbook starts with apiVersion: drills/v1 and kind: Playbook")
    if len(documents) > 1:
        raise documents[1].error((), "a second document; a file holds one playbook")
    return playbook_of(documents[0])


def playbook_of(document: Document) -> Playbook:
    """The playbook in a document. PlaybookError names every value that is wrong."""
    if not isinstance(document.data, dict):
        raise document.error((), "a playbook is a mapping with apiVersion, kind, metadata and spec")
    try:
        playbook = _with_defaults(_validated(document.data))
    except ValidationError as error:
        schema = _schema()
        found = _first_causes(error.errors(include_url=False))
        raise PlaybookError([source_error(document, schema, each) for each in found]) from None
    wrong = [document.error(path, message) for path, message in complaints(playbook)]
    if wrong:
        raise PlaybookError(wrong)
    return playbook


def _validated(data: Any) -> Playbook:
    return Playbook.model_validate(data, by_alias=True, by_name=False, context=FROM_FILE)


def _first_causes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the lists that are too short only because their items are wrong."""
    places = [error["loc"] for error in errors]
    return [
        error
        for error in errors
        if error["type"] != "too_short"
        or not any(place[: len(error["loc"])] == error["loc"] != place for place in places)
    ]


def _with_defaults(playbook: Playbook) -> Playbook:
    drills = tuple(_drill_with_defaults(drill, playbook.spec.notify) for drill in playbook.drills)
    spec: Spec = playbook.spec.model_copy(update={"drills": drills})
    return playbook.model_copy(update={"spec": spec})


def _drill_with_defaults(drill: Drill, notify: Notify) -> Drill:
    update: dict[str, Any] = {} if "notify" in drill.model_fields_set else {"notify": notify}
    if drill.control_spec is not None and drill.control is not None:
        control = _control_with_defaults(drill, drill.control)
        update["control_spec"] = OneControl.model_copy(drill.control_spec, update={control.kind: control})
    if drill.expect.during:
        during = tuple(_under_with_defaults(drill, under) for under in drill.expect.during)
        update["expect"] = drill.expect.model_copy(update={"during": during})
    return drill.model_copy(update=update)


def _under_with_defaults(drill: Drill, under: Under) -> Under:
    injection = _control_with_defaults(drill, under.injection)
    return under.model_copy(update={injection.kind: injection})


def _control_with_defaults(drill: Drill, control: Control) -> Control:
    """The injection's duration, and its timeout where it has one, in place of what the control leaves out."""
    wanted = {"duration": drill.injection.duration, "timeout": getattr(drill.injection, "timeout", None)}
    left_out = {
        name: value for name, value in wanted.items() if value is not None and name not in control.model_fields_set
    }
    return control.model_copy(update=left_out)
