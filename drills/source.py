"""YAML files with places: every value that a user wrote can be pointed at by file, line and column.

Why not ``yaml.safe_load``: it forgets where a value stood, takes the last of two equal keys without a word, turns
``2025-08-22`` into a date, and expands aliases without a limit. The scalars follow what kubectl does with YAML
(sigs.k8s.io/yaml, which is YAML 1.1 without dates and sexagesimal numbers), because the same files go there too.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from drills.errors import InputError, Place, SourceError

KeyPath: TypeAlias = tuple[str | int, ...]

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 100
MAX_NODES = 2_000_000  # aliases counted as often as they are used

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class _Where:
    """Places of a node and of what is below it; lines and columns count from 0 here."""

    line: int
    column: int
    keys: dict[str, tuple[int, int]] | None = None  # of a mapping
    children: dict[str, _Where] | list[_Where] | None = None

    def child(self, step: str | int) -> _Where | None:
        if isinstance(self.children, dict):
            return self.children.get(step) if isinstance(step, str) else None
        if isinstance(self.children, list) and isinstance(step, int) and 0 <= step < len(self.children):
            return self.children[step]
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: plain data (dict, list, str, int, float, bool, None; keys are strings) and where it stands."""

    data: Any
    file: Path | str
    _where: _Where = field(repr=False)

    def place_of(self, path: KeyPath = ()) -> Place:
        """The place of the value at a path; of the nearest value above it where the path leads nowhere."""
        where = self._where
        for step in path:
            below = where.child(step)
            if below is None:
                break
            where = below
        return Place(self.file, where.line + 1, where.column + 1)

    def key_place_of(self, path: KeyPath) -> Place:
        """The place of the key that a path ends with; as ``place_of`` where it does not end with a key."""
        where = self._where
        for step in path[:-1]:
            below = where.child(step)
            if below is None:
                return self.place_of(path)
            where = below
        if where.keys is None or not path or path[-1] not in where.keys:
            return self.place_of(path)
        line, column = where.keys[str(path[-1])]
        return Place(self.file, line + 1, column + 1)

    def error(self, path: KeyPath, message: str) -> SourceError:
        """An error that points at the value at a path."""
        return SourceError(self.place_of(path), message)


def load_documents(path: Path) -> list[Document]:
    """Every document of a file that is not empty. InputError if it cannot be read, SourceError if it is not YAML."""
    return parse_documents(read_text(path), path)


def read_text(path: Path) -> str:
    """The text of a file that a user named, with line ends of one kind. InputError, in one sentence, if it cannot be
    read; SourceError, with the place, where it is not text.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES // 2**20} MiB")
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {reason}") from error
    try:
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before.rpartition(b"\n")[2].decode())
        place = Place(path, before.count(b"\n") + 1, column + 1)
        raise SourceError(place, f"not text in UTF-8 (byte 0x{data[error.start]:02x})") from error


def parse_documents(text: str, file: Path | str) -> list[Document]:
    """As ``load_documents``, of a text that is there already."""
    return [document for document in _Builder(text, file).documents() if document.data is not None]


@dataclass(slots=True)
class _Open:
    """A container that is being built."""

    data: Any  # dict or list
    where: _Where
    anchor: str | None
    started_at: int  # nodes counted before it
    key: str | None = None
    key_at: tuple[int, int] = (0, 0)
    merges: list[tuple[dict[str, Any], _Where]] = field(default_factory=list)


class _Builder:
    """Builds documents from the parser's events, without recursion, so that no input can exhaust the stack."""

    def __init__(self, text: str, file: Path | str) -> None:
        self._text = text
        self._file = file
        self._nodes = 0
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, _Where, int] | None] = {}
        self._root: tuple[Any, _Where] | None = None

    def documents(self) -> Iterator[Document]:
        for event in self._events():
            match event:
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.MappingStartEvent():
                    self._open(event, {}, _Where(*_at(event), keys={}, children={}))
                case yaml.SequenceStartEvent():
                    self._open(event, [], _Where(*_at(event), children=[]))
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close()
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.DocumentEndEvent():
                    data, where = self._root or (None, _Where(0, 0))
                    self._anchors.clear()
                    self._root = None
                    yield Document(data, self._file, where)

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self._text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line, mark.column) if mark else (0, 0)
            raise self._error((line, column), f"broken YAML: {error.problem or error.context}") from error
        except yaml.reader.ReaderError as error:
            before = self._text[: error.position]
            at = (before.count("\n"), len(before) - before.rfind("\n") - 1)
            raise self._error(at, f"broken YAML: {error.reason}") from error
        except yaml.YAMLError as error:
            raise self._error((0, 0), f"broken YAML: {error}") from error

    def _error(self, at: tuple[int, int], message: str) -> SourceError:
        return SourceError(Place(self._file, at[0] + 1, at[1] + 1), message)

    def _count(self, event: Any, nodes: int = 1) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._error(_at(event), f"more than {MAX_NODES} values, aliases expanded; split the file")

    def _scalar(self, event: Any) -> None:
        self._count(event)
        where = _Where(*_at(event))
        if self._awaits_key():
            self._remember(event.anchor, event.value, where, 1)
            self._begin_key(event.value, event, merge=event.value == "<<" and event.implicit[0])
            return
        value = self._value_of(event)
        self._remember(event.anchor, value, where, 1)
        self._put(value, where)

    def _value_of(self, event: Any) -> Any:
        if event.implicit[0]:
            return resolve(event.value)
        if event.implicit[1] or event.tag in (None, "!", "tag:yaml.org,2002:str"):
            return event.value
        kinds = _TAGGED.get(event.tag)
        value = resolve(event.value)
        if kinds is None or not isinstance(value, kinds):
            raise self._error(_at(event), f"the tag {event.tag} does not fit here; only plain values are read")
        return value

    def _open(self, event: Any, data: Any, where: _Where) -> None:
        self._count(event)
        if self._awaits_key():
            raise self._error(_at(event), "a key must be a plain value, not a mapping or a list")
        if event.tag is not None and event.tag not in _CONTAINER_TAGS:
            raise self._error(_at(event), f"the tag {event.tag} is not known; only plain values are read")
        if len(self._stack) >= MAX_DEPTH:
            raise self._error(_at(event), f"nested deeper than {MAX_DEPTH} levels")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(data, where, event.anchor, self._nodes - 1))

    def _close(self) -> None:
        done = self._stack.pop()
        for data, where in done.merges:
            _merge(done, data, where)
        self._remember(done.anchor, done.data, done.where, self._nodes - done.started_at)
        self._put(done.data, done.where)

    def _alias(self, event: Any) -> None:
        if self._awaits_key():
            raise self._error(_at(event), "a key must be a plain value, not an alias")
        if event.anchor not in self._anchors:
            raise self._error(_at(event), f"the alias *{event.anchor} stands before its anchor")
        known = self._anchors[event.anchor]
        if known is None:
            raise self._error(_at(event), f"the alias *{event.anchor} contains itself")
        data, where, nodes = known
        self._count(event, nodes)
        self._put(data, where)

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].data, dict) and self._stack[-1].key is None

    def _begin_key(self, key: str, event: Any, *, merge: bool) -> None:
        top = self._stack[-1]
        top.key_at = _at(event)
        if merge:
            top.key = _MERGE
            return
        if key in top.data:
            first = top.where.keys[key][0] + 1 if top.where.keys else 0
            raise self._error(top.key_at, f'the key "{key}" stands here for the second time (first in line {first})')
        top.key = key

    def _remember(self, anchor: str | None, data: Any, where: _Where, nodes: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (data, where, nodes)

    def _put(self, data: Any, where: _Where) -> None:
        if not self._stack:
            self._root = (data, where)
            return
        top = self._stack[-1]
        if isinstance(top.data, list):
            top.data.append(data)
            assert isinstance(top.where.children, list)
            top.where.children.append(where)
        elif top.key == _MERGE:
            self._put_merge(top, data, where)
        else:
            assert top.key is not None
            _set(top, top.key, data, top.key_at, where)
        top.key = None

    def _put_merge(self, top: _Open, data: Any, where: _Where) -> None:
        parts = list(zip(data, where.children or [], strict=False)) if isinstance(data, list) else [(data, where)]
        for part, part_where in parts:
            if not isinstance(part, dict) or not isinstance(part_where, _Where):
                raise self._error(top.key_at, "<< takes a mapping or a list of mappings")
            top.merges.append((part, part_where))


_MERGE = "\0<<"  # no YAML text can hold a NUL


def _set(top: _Open, key: str, data: Any, key_at: tuple[int, int], where: _Where) -> None:
    assert isinstance(top.where.children, dict)
    assert top.where.keys is not None
    top.data[key] = data
    top.where.children[key] = where
    top.where.keys[key] = key_at


def _merge(into: _Open, data: dict[str, Any], where: _Where) -> None:
    for key, value in data.items():
        if key not in into.data and isinstance(where.children, dict) and where.keys is not None:
            _set(into, key, value, where.keys[key], where.children[key])


def _at(event: Any) -> tuple[int, int]:
    return event.start_mark.line, event.start_mark.column


_CONTAINER_TAGS = ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_TAGGED: dict[str, type | tuple[type, ...]] = {
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": (int, float),
    "tag:yaml.org,2002:bool": bool,
    "tag:yaml.org,2002:null": type(None),
}
_WORDS: dict[str, bool | float | None] = (
    dict.fromkeys(("", "~", "null", "Null", "NULL"))
    | dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True)
    | dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False)
    | dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf"))
    | dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf"))
    | dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan"))
)
_INT = re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$", re.ASCII)
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", re.ASCII)
_LONGEST_INT = 20  # characters; beyond, Go's parser reads a float


def resolve(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar, as kubectl reads it: ``0644`` is octal, ``1e3`` a float, a date stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] not in "+-.0123456789":
        return text
    if len(text) <= _LONGEST_INT and _INT.match(text):
        return _int_of(text)
    return float(text) if _FLOAT.match(text) else text


def _int_of(text: str) -> int | str:
    digits = text.replace("_", "")
    sign, magnitude = (digits[0], digits[1:]) if digits[0] in "+-" else ("", digits)
    if len(magnitude) > 1 and magnitude[0] == "0" and magnitude[1] not in "bBoOxX":
        magnitude = "0o" + magnitude[1:]
    try:
        return int(sign + magnitude, 0)
    except ValueError:
        return text
