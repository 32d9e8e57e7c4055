"""amtool, the judge of Alertmanager configurations: what it says, where that stands, and what it is too old to know."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drills.check.delivery.newer import KNOWN_TO, is_newer_key, is_newer_matcher, judged_without
from drills.source import KeyPath

_SECONDS: Final = 20.0
_SECTION: Final = re.compile(r"^Checking '[^']*?(\d+)\.yml'  (SUCCESS|FAILED)(?:: )?", re.MULTILINE)
_LINE: Final = re.compile(r"line (\d+): ")
_FIELD: Final = re.compile(r"line (\d+): field (\S+) not found in type \S+")
_MATCHER: Final = re.compile(r"bad matcher format: (.*)", re.DOTALL)
_QUOTED: Final = re.compile(r'"([^"]+)"')
_ROUNDS: Final = 5
_LEFT_OUT: Final = object()


@dataclass(frozen=True, slots=True)
class Word:
    """What amtool says, and which value it means; ``key``: the key itself is meant."""

    path: KeyPath
    text: str
    key: bool = False


@dataclass(slots=True)
class Opinion:
    """``doubts`` is what this amtool does not know and newer ones do; ``wrong`` what is wrong in any case."""

    wrong: Word | None
    doubts: list[Word]


def opinions(configs: Sequence[Mapping[str, Any]]) -> list[Opinion]:
    """amtool's opinion of each configuration; no complaint at all where it is not installed."""
    found = [Opinion(None, []) for _ in configs]
    program = shutil.which("amtool")
    asked = {number: deepcopy(dict(each)) for number, each in enumerate(configs)} if program else {}
    version = ""
    for _ in range(_ROUNDS):
        if not asked or program is None:
            break
        again = {}
        for number, (words, paths) in _ask(program, asked).items():
            version = version or _version(program)
            newer = list(_newer(words, paths, asked[number]))
            found[number].doubts += [
                Word(path, f"{version} does not know {what}; {KNOWN_TO} does", key) for path, what, key in newer
            ]
            for path, _, _ in newer:
                _remove(asked[number], judged_without(path))
            if newer:
                again[number] = asked[number]
            elif not (found[number].doubts and "no global" in words):  # which a key that was left out may have been
                path, key = _meant(words, paths, asked[number])
                found[number].wrong = Word(path, f"{version} says: {_clean(words)}", key)
        asked = again
    return found


def _ask(program: str, asked: Mapping[int, Mapping[str, Any]]) -> dict[int, tuple[str, list[KeyPath]]]:
    """Of every configuration that amtool refuses: its words, and the path of every line that it was given."""
    paths: dict[int, list[KeyPath]] = {}
    with tempfile.TemporaryDirectory(prefix="drills-alertmanager-") as directory:
        for number, data in asked.items():
            lines = list(_lines(data, (), "", ""))
            paths[number] = [path for path, _ in lines]
            text = "\n".join(text for _, text in lines) + "\n"
            (Path(directory) / f"{number}.yml").write_text(text, encoding="utf-8")
        output = _run(program, "check-config", *(f"{each}.yml" for each in asked), directory=directory)
    parts = _SECTION.split(output)
    said = {int(parts[at]): (parts[at + 1], parts[at + 2]) for at in range(1, len(parts) - 2, 3)}
    return {number: (words, paths[number]) for number, (outcome, words) in said.items() if outcome == "FAILED"}


def _run(program: str, *arguments: str, directory: str | None = None) -> str:
    try:
        done = subprocess.run(
            [program, *arguments], cwd=directory, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def _version(program: str) -> str:
    found = re.search(r"version (\S+)", _run(program, "--version"))
    return f"amtool {found[1]}" if found else "amtool"


def _lines(value: Any, path: KeyPath, before: str, after: str) -> Iterator[tuple[KeyPath, str]]:
    """The value as JSON, one key or item in a line, and where each line comes from."""
    if not isinstance(value, dict | list) or not value:
        yield path, f"{before}{json.dumps(value, default=str)}{after}"
        return
    is_map = isinstance(value, dict)
    every = value.items() if isinstance(value, dict) else enumerate(value)
    items = [(key, item) for key, item in every if item is not _LEFT_OUT]
    yield path, before + ("{" if is_map else "[")
    for number, (key, item) in enumerate(items, 1):
        named = f"{json.dumps(str(key))}: " if is_map else ""
        yield from _lines(item, (*path, key), named, "," if number < len(items) else "")
    yield path, ("}" if is_map else "]") + after


def _newer(words: str, paths: Sequence[KeyPath], data: Any) -> Iterator[tuple[KeyPath, str, bool]]:
    """What newer versions know: its path, its name, and whether it is a key."""
    seen: set[KeyPath] = set()
    for match in _FIELD.finditer(words):
        line, name = int(match[1]), match[2]
        near = [each for each in paths if each and each[-1] == name and each not in seen]
        at = paths[line - 1] if line <= len(paths) else ()
        path = at if at in near else next(iter(near), ())
        if path:
            seen.add(path)
            if is_newer_key(path):
                yield path, name, True
    matcher = _MATCHER.search(words)
    if matcher is not None:
        for path in paths:
            value = _value(data, path)
            if isinstance(value, str) and value.strip() in matcher[1] and "matchers" in str(path[-2:-1]):
                if is_newer_matcher(value):
                    yield path, f"{value.strip()}, with the label's name in quotes", False
                return


def _meant(words: str, paths: Sequence[KeyPath], data: Any) -> tuple[KeyPath, bool]:
    """The path that a message is about, and whether it is about the key; the route where it does not tell."""
    field, line = _FIELD.search(words), _LINE.search(words)
    if field is not None:
        at = paths[int(field[1]) - 1] if int(field[1]) <= len(paths) else ()
        named = [each for each in paths if each and each[-1] == field[2]]
        return (at if at in named else (named or [("route",)])[0]), True
    if line is not None and int(line[1]) <= len(paths):
        return paths[int(line[1]) - 1], False
    for quoted in _QUOTED.findall(words):
        hits = [each for each in paths if _value(data, each) == quoted]
        if hits:
            return (hits[-1] if "not unique" in words else hits[0]), False
    plain = words.replace("_", " ").lower()
    about = [each for each in paths if each and str(each[-1]).replace("_", " ").removesuffix("s") in plain]
    return max(about, key=lambda each: len(str(each[-1])), default=("route",)), True


def _value(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _remove(data: Any, path: KeyPath) -> None:
    """Leave a value out of what amtool is given; the paths of the others stay as they are."""
    for step in path[:-1]:
        data = data[step]
        if data is _LEFT_OUT:
            return
    data[path[-1]] = _LEFT_OUT


def _clean(words: str) -> str:
    """Without the lines and the types of what amtool was given, which are not the user's."""
    words = re.sub(r"^yaml: (unmarshal errors:)?\s*", "", words.strip())
    words = re.sub(r"line \d+: field (\S+) not found in type \S+", r"field \1 not found", words)
    return "; ".join(" ".join(each.split()) for each in _LINE.sub("", words).splitlines() if each.strip())
