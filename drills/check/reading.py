"""From files and folders to a `World`: Kubernetes objects, rule files, Alertmanager configurations, playbooks.

Other documents are passed over: a folder may hold Helm-rendered output, CI workflows and whatever else is YAML.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drills.check.finding import Finding, Level, Rule
from drills.check.helm import is_values
from drills.check.world import LoadedPlaybook, Manifest, Options, World
from drills.errors import InputError, Place, SourceError
from drills.playbook import PlaybookError, playbook_of
from drills.source import Document, load_documents

SUFFIXES = (".yaml", ".yml", ".json")
PLAYBOOK_API = "drills/v1"
WRITTEN = "# Written by drills check --write-tests; it is overwritten by the next one."

UNREADABLE = Rule(
    name="check/unreadable",
    level=Level.ERROR,
    title="A file or a folder cannot be read",
    problem="The file is not text in UTF-8, not YAML, or has the same key twice in one mapping. A template that "
    "was not rendered (`{{ ... }}`) is the usual reason: give the output of `helm template` instead. Or the file "
    "system does not give it out.",
    effect="kubectl and Prometheus refuse the whole file, or take the last of two equal keys without a word. Nothing "
    "in the file was checked; the exit status is 2.",
    fix="Mend the YAML, or leave the file out.",
    wrong="apiVersion: v1\nkind: ConfigMap\nkind: Secret\nmetadata: {name: twice}\n",
    right="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: once}\n",
    source="sigs.k8s.io/yaml, which kubectl reads with; YAML 1.1",
)
INVALID = Rule(
    name="playbook/invalid",
    level=Level.ERROR,
    title="A playbook does not fit its schema",
    problem="A key is unknown or missing, a value has the wrong kind, a source is not defined, or what is asked cannot "
    "be done within the guards.",
    effect="`drills run` refuses it with exit status 2 before anything is made; so does this check.",
    fix="The message names the place and what belongs there; `drills schema` prints the schema for an editor.",
    wrong="""\
apiVersion: drills/v1
kind: Playbook
metadata: {name: misspelt}
spec:
  sources:
    frontend: {namespace: frontend, labels: {app: frontend}}
  drills:
  - name: admin-path
    inject:
      http: {from: frontnd, url: "http://http-api.backend/admin", rate: 5/s, duration: 3m}
    control:
      http: {from: frontend, url: "http://http-api.backend/"}
    expect:
      denied: {status: 403}
""",
    right="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: no-playbook}\n",
    source="drills schema",
)
RULES = (UNREADABLE, INVALID)
UNREADABLE_NAMES = frozenset({UNREADABLE.name, INVALID.name})  # with one of these the exit status is 2


@dataclass(slots=True)
class _Sorted:
    objects: list[Manifest] = field(default_factory=list)
    rule_files: list[Document] = field(default_factory=list)
    alertmanagers: list[Document] = field(default_factory=list)
    playbooks: list[LoadedPlaybook] = field(default_factory=list)
    values: list[Document] = field(default_factory=list)
    unreadable: list[Finding] = field(default_factory=list)


def read(paths: Sequence[Path], options: Options) -> World:
    """Everything in the files and folders. InputError for a path that is not there, or a folder with nothing in it."""
    found = _Sorted()
    for file in dict.fromkeys(file for path in paths for file in files(path, found.unreadable)):
        try:
            documents = load_documents(file)
        except SourceError as error:
            found.unreadable.append(UNREADABLE.at(error.place, error.message))
            continue
        except InputError as error:
            found.unreadable.append(_closed(file, str(error).removeprefix(f"{file} ")))
            continue
        for document in documents:
            _sort(document, found)
    return World(
        found.objects,
        found.rule_files,
        found.alertmanagers,
        found.playbooks,
        found.unreadable,
        found.values,
        options,
    )


def files(path: Path, unreadable: list[Finding]) -> list[Path]:
    """A file itself; of a folder every YAML and JSON file in it, by name, without hidden folders and what
    ``--write-tests`` has left there. Folders that cannot be read become findings.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"There is nothing to check at {path}: no such file or directory.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISDIR(mode):
        return [path]
    closed: list[Finding] = []
    found = sorted(_below(path, closed))
    if not found and not closed:
        raise InputError(f"There is nothing to check in {path}: it holds no file with {', '.join(SUFFIXES)}.")
    unreadable += closed
    return [each for each in found if not is_written(each)]


def _below(folder: Path, unreadable: list[Finding]) -> Iterator[Path]:
    def remember(error: OSError) -> None:
        unreadable.append(_closed(Path(error.filename), f"cannot be read: {error.strerror}"))

    for name, folders, names in os.walk(folder, onerror=remember):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (Path(name, each) for each in names if _wanted(Path(name, each)))


def _closed(path: Path, message: str) -> Finding:
    """A file or a folder that the file system does not give out."""
    effect = "Nothing in it was checked; the exit status is 2."
    fix = "Give the user who runs drills check the right to read it, or name the files to be checked without it."
    return UNREADABLE.at(Place(path, 1, 1), message, effect=effect, fix=fix)


def _wanted(file: Path) -> bool:
    named = file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    return named and _readable(file)


def _readable(file: Path) -> bool:
    """Whether it is worth trying: no pipe, socket or device, which may never end; what cannot be asked is tried."""
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return True


def is_written(file: Path) -> bool:
    """Whether ``--write-tests`` made a file: its first line says so."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(WRITTEN)) == WRITTEN.encode()
    except OSError:
        return False


def _sort(document: Document, found: _Sorted) -> None:
    data = document.data
    if not isinstance(data, dict):
        return
    if data.get("apiVersion") == PLAYBOOK_API or data.get("kind") == "Playbook":
        _playbook(document, found)
    elif "kind" in data and "apiVersion" in data:
        found.objects += _objects(document)
    elif isinstance(data.get("groups"), list) and "kind" not in data:
        found.rule_files.append(document)
    elif "route" in data and "receivers" in data:
        found.alertmanagers.append(document)
    elif is_values(document.file) and "kind" not in data:
        found.values.append(document)


def _playbook(document: Document, found: _Sorted) -> None:
    try:
        found.playbooks.append(LoadedPlaybook(document, playbook_of(document)))
    except PlaybookError as error:
        found.unreadable += [INVALID.at(each.place, each.message) for each in error.errors]
    except SourceError as error:
        found.unreadable.append(INVALID.at(error.place, error.message))


def _objects(document: Document) -> Iterator[Manifest]:
    data = document.data
    items = data.get("items")
    if not (isinstance(items, list) and str(data.get("kind")).endswith("List")):
        yield Manifest(document, data)
        return
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield Manifest(document, item, ("items", index))
