"""Applies manifests inside the lab as ``kubectl apply`` does: what is refused is reported and skipped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from drills.lab.api import resources
from drills.lab.api.errors import ApiError
from drills.lab.api.objects import Applied
from drills.lab.api.types import Obj, name_of, namespace_of
from drills.lab.settings import Manifest, Validation

FIELD_VALIDATION: dict[Validation, Literal["Strict", "Warn"]] = {"strict": "Strict", "warn": "Warn"}


class Applies(Protocol):
    """The API server's own way of applying."""

    def apply(self, obj: Obj, *, field_validation: Literal["Strict", "Warn", "Ignore"]) -> Applied: ...


def apply_all(server: Applies, manifests: Iterable[Manifest], validation: Validation) -> list[str]:
    """Apply in order; a sentence for each object that was skipped and for each field that was pruned."""
    return [note for manifest in manifests for note in _apply(server, manifest, FIELD_VALIDATION[validation])]


def _apply(server: Applies, manifest: Manifest, validation: Literal["Strict", "Warn"]) -> list[str]:
    obj = manifest.object
    api_version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    if not api_version or not kind:
        return [f"{manifest.place}: skipped, it has no apiVersion or kind"]
    where = f"{manifest.place}: {kind} {'/'.join(filter(None, (namespace_of(obj), name_of(obj))))}"
    if resources.by_kind(api_version, kind) is None:
        return [f"{where}: skipped, the lab does not serve {kind} of {api_version}"]
    try:
        applied = server.apply(obj, field_validation=validation)
    except ApiError as error:
        return [f"{where}: skipped, {error.message}"]
    return [f"{where}: {warning}" for warning in applied.warnings]
