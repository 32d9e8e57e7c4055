"""From a document that somebody sent to an object that may be stored: decode, prune, default, validate.

The order is the API server's. It decides what a user hears first: 400 for what cannot be read or, when
strict, for unknown fields; then 422 for what breaks the kind's rules, with all causes at once.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from drills.lab.api.defaults import set_defaults
from drills.lab.api.errors import ApiError, bad_request, invalid
from drills.lab.api.kinds import kind_of
from drills.lab.api.resources import Resource
from drills.lab.api.types import Obj, name_of
from drills.lab.api.validation import causes_of_change, causes_of_new

FieldValidation = Literal["Strict", "Warn", "Ignore"]


class Decoded(NamedTuple):
    """A document as the API reads it, and what it says about that."""

    obj: Obj
    warnings: list[str]


def decode(r: Resource, document: Any, validation: FieldValidation) -> Decoded:
    """The pruned and defaulted object of a document. Raises ApiError 400."""
    obj = _identified(r, document)
    try:
        return _decode(r, obj, validation)
    except StrictError as error:
        raise bad_request(_unreadable(r, f"strict decoding error: {error}")) from error
    except DecodeError as error:
        raise bad_request(_unreadable(r, str(error))) from error


def decode_patched(r: Resource, document: Obj, validation: FieldValidation) -> Decoded:
    """As ``decode``, for the outcome of a patch, about which the API server complains differently: ApiError 422."""
    try:
        return _decode(r, _identified(r, document), validation)
    except (StrictError, DecodeError) as error:
        strict = "strict decoding error: " if isinstance(error, StrictError) else ""
        text = f' "" is invalid: patch: Invalid value: "object": {strict}{error}'
        raise ApiError(422, "Invalid", text) from error


class DecodeError(Exception):
    """A value of the wrong type."""


class StrictError(Exception):
    """Unknown fields where none are allowed."""


def _decode(r: Resource, obj: Obj, validation: FieldValidation) -> Decoded:
    kind = kind_of(r)
    if (why := kind.undecodable(obj)) is not None:
        raise DecodeError(why)
    unknown = [f'unknown field "{path}"' for path in kind.unknown(obj)] if validation != "Ignore" else []
    if unknown and validation == "Strict":
        raise StrictError(", ".join(unknown))
    pruned = kind.pruned(obj)
    set_defaults(r, pruned)
    return Decoded(pruned, unknown)


def _unreadable(r: Resource, why: str) -> str:
    return f'{r.kind} in version "{r.version}" cannot be handled as a {r.kind}: {why}'


def _identified(r: Resource, document: Any) -> Obj:
    """The document with apiVersion, kind and metadata in place. Raises ApiError 400 if it is of another kind."""
    if not isinstance(document, dict):
        raise bad_request("the object provided is unrecognized (must be of type object)")
    version = document.get("apiVersion") or r.api_version
    kind = document.get("kind") or r.kind
    if version != r.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({r.api_version})"
        )
    if kind != r.kind:
        raise bad_request(f"the kind in the data ({kind}) does not match the expected kind ({r.kind})")
    metadata = document.get("metadata")
    identified = {**document, "apiVersion": version, "kind": kind, "metadata": {} if metadata is None else metadata}
    if not isinstance(identified["metadata"], dict):
        raise bad_request(_unreadable(r, "json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta"))
    return identified


def check_new(r: Resource, obj: Obj) -> None:
    """Raises ApiError 422 with every reason why a decoded object may not be stored."""
    causes = kind_of(r).causes(obj) or causes_of_new(r, obj)
    if causes:
        raise invalid(r, name_of(obj), causes)


def check_change(r: Resource, old: Obj, new: Obj) -> None:
    """Raises ApiError 422 with every reason why a decoded object may not take the place of another."""
    causes = kind_of(r).causes(new) or causes_of_change(r, old, new)
    if causes:
        raise invalid(r, name_of(new), causes)
