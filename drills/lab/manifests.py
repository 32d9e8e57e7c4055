"""What a lab runs: manifests read from directories on the host, in the order in which kubectl would apply them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import drills
from drills.errors import InputError
from drills.lab.settings import Manifest
from drills.source import Document, load_documents

SUFFIXES = (".yaml", ".yml", ".json")  # what `kubectl apply -R -f DIR` reads


def read(directories: Sequence[Path]) -> tuple[Manifest, ...]:
    """Every object in the directories (or files), directories in their order, files by name, recursively.

    InputError for a path that is not there, SourceError for broken YAML.
    """
    return tuple(
        manifest for path in directories for file in _files(path) for manifest in _objects(load_documents(file))
    )


def shipped() -> tuple[Manifest, ...]:
    """The demo application, its policies, and the alert rules."""
    root = Path(drills.__file__).resolve().parent.parent
    rules = sorted((root / "alerts" / "rules").glob("*.yaml"))  # not below: the rules' tests live there
    return read([root / "playbooks" / "demo", *rules])


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if path.is_file():
        return [path]
    raise InputError(f"There are no manifests at {path}: no such file or directory.")


def _objects(documents: Sequence[Document]) -> Iterator[Manifest]:
    for document in documents:
        data = document.data
        if not isinstance(data, dict):
            raise document.error((), "a manifest is a mapping with apiVersion, kind and metadata")
        if isinstance(data.get("items"), list) and str(data.get("kind", "")).endswith("List"):
            for index, item in enumerate(data["items"]):
                yield _manifest(document, ("items", index), item)
        else:
            yield _manifest(document, (), data)


def _manifest(document: Document, path: tuple[str | int, ...], data: Any) -> Manifest:
    if not isinstance(data, dict):
        raise document.error(path, "a manifest is a mapping with apiVersion, kind and metadata")
    return Manifest(place=str(document.place_of(path)), object=data)
