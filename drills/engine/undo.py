"""How to undo a change, as data: what is written to the cluster before the change, and all that recovery goes by.

Two actions cover what drills change through the API: what was made is deleted, and what was altered or deleted is
restored from its before-image. A third covers what only an agent can repair: files and devices of its node, a fourth
what can only be ended: a container that was added to a pod. A fifth ends silences, which lie at Alertmanager. What to
write back is decided here, purely: only the fields that the drill itself changed, and only where nobody else has
touched them since.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from alerts.http_config import checked
from alerts.silences import OwnSilence
from drills.errors import InputError
from drills.kube.api import Obj
from drills.kube.proxy import PREFIX, ServiceAddress
from drills.kube.references import Reference

SCHEMA: Final = "drills/undo/v1"
# What may be written back: whoever can write a record must not make recovery write anything else with its rights.
RESTORABLE: Final = frozenset(
    {
        ("v1", "secrets"),
        ("v1", "configmaps"),
        ("cilium.io/v2", "ciliumnodes"),
        ("cilium.io/v2", "ciliumnetworkpolicies"),
        ("cilium.io/v2", "ciliumclusterwidenetworkpolicies"),
    }
)
OF_THE_SERVER: Final = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "deletionTimestamp"}
)
Path: TypeAlias = tuple[str, ...]
# Where a Secret has what nobody may guess: kubectl apply keeps the values in an annotation, too.
HIDDEN: Final[tuple[Path, ...]] = (("data",), ("stringData",), ("metadata", "annotations"))


class _Absent:
    """The value of a field that is not there."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


class Model(BaseModel):
    """Frozen; an unknown key means that a newer version wrote it, which must not be half understood."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Delete(Model):
    """Undo of making objects: they are deleted in this order, if they carry the run's mark."""

    action: Literal["delete"] = "delete"
    objects: tuple[Reference, ...]


class Restore(Model):
    """Undo of changing an object (``after`` is what it was changed to) or of deleting it (``after`` is None)."""

    action: Literal["restore"] = "restore"
    object: Reference
    before: Obj
    after: Obj | None

    @field_validator("object")
    @classmethod
    def _restorable(cls, value: Reference) -> Reference:
        if (value.api_version, value.plural) not in RESTORABLE:
            raise ValueError(f"{value.plural} of {value.api_version} are never restored")
        return value


class RepairAgent(Model):
    """Undo of a fault in a node's WireGuard that the API does not show: the key's file that ``run`` has hidden is put
    back (None: none was hidden), and the agent is restarted, which then sets up everything. Both can be repeated.
    ``published``: the public key that the node had before (empty in records of versions that did not write it down).
    """

    action: Literal["repair-agent"] = "repair-agent"
    node: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,252}$")
    run: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,60}$")
    published: str = ""


class EndContainer(Model):
    """Undo of adding an ephemeral container to a pod: it is ended. Kubernetes removes none, so its entry stays."""

    action: Literal["end-container"] = "end-container"
    namespace: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    pod: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,252}$")
    container: str = Field(pattern=r"^drill-[a-z0-9-]{1,57}$")


class ExpireSilence(Model):
    """Undo of laying a silence: those with these labels and this comment are ended at an Alertmanager, whose address is
    as the run was given it (a URL or ``service:...``, without credentials). It ends by itself at ``ends_at`` (Unix
    time). The comment begins as every one of ours: whoever can write a record must not end anybody else's silences.
    """

    action: Literal["expire-silence"] = "expire-silence"
    alertmanager: str
    labels: dict[str, str]
    comment: str = Field(pattern=r"^drills: run ")
    ends_at: float

    @field_validator("alertmanager")
    @classmethod
    def _an_address(cls, value: str) -> str:
        try:
            return str(ServiceAddress.parse(value)) if value.startswith(PREFIX) else checked(value)
        except InputError:
            raise ValueError("no address of an Alertmanager") from None  # it may carry a password

    @property
    def silence(self) -> OwnSilence:
        """What was laid."""
        return OwnSilence(self.labels, self.comment, self.ends_at)


Undo: TypeAlias = Annotated[
    Delete | Restore | RepairAgent | EndContainer | ExpireSilence, Field(discriminator="action")
]


class Record(Model):
    """An undo as it stands in the cluster. ``order`` counts the changes of a run: the last is undone first."""

    version: Literal["drills/undo/v1"] = Field(default=SCHEMA, alias="schema")
    run: str
    playbook: str = ""  # whose run made the change, and whose rights undo it; empty: not known
    order: int
    what: str
    at: str
    undo: Undo


@dataclass(frozen=True, slots=True)
class Reverted:
    """What to write back. ``target`` None: nothing is to be written.

    ``conflicts`` are fields of ours that somebody changed after us, ``foreign`` other fields that somebody changed:
    both stay as they are.
    """

    target: Obj | None
    conflicts: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def of_drill_pod(namespace: str, name: str) -> Delete:
    """The undo of making a drill pod: it goes, and then the ConfigMap that owns it."""
    return Delete(objects=(Reference("v1", "pods", name, namespace), Reference("v1", "configmaps", name, namespace)))


def revert(before: Obj, after: Obj, current: Obj) -> Reverted:
    """Take our change (``before`` to ``after``) out of what an object is now."""
    was, made, now = (dict(_fields(one)) for one in (before, after, current))
    ours = {path for path in was.keys() | made.keys() if _differ(was, made, path)}
    others = {path for path in was.keys() | now.keys() if path not in ours and _differ(was, now, path)}
    back = {path for path in ours if _differ(was, now, path) and not _differ(made, now, path)}
    back -= {path for path in back & was.keys() if any(_related(path, other) for other in now.keys() - back)}
    conflicts = {path for path in ours - back if _differ(was, now, path)}
    target = copy.deepcopy(current) if back else None
    for path in sorted(back, key=lambda path: (path in was, path)):  # removals first
        _put(target, path, was.get(path, ABSENT))
    return Reverted(target, _texts(conflicts), _texts(others))


def differences(one: Obj, other: Obj) -> tuple[str, ...]:
    """The fields in which two images of an object differ, in words; what the server sets by itself is left out."""
    first, second = dict(_fields(one)), dict(_fields(other))
    return _texts({path for path in first.keys() | second.keys() if _differ(first, second, path)})


def fresh(image: Obj) -> Obj:
    """A before-image as a new object: without what the server gives to each object by itself."""
    metadata = {key: value for key, value in image["metadata"].items() if key not in OF_THE_SERVER}
    return {**copy.deepcopy(image), "metadata": copy.deepcopy(metadata)}


def digest(image: Obj | None) -> str | None:
    """The SHA-256 of what a user put into an object; None for one that is not there.

    Of a Secret only the names of its keys and annotations count: who has the hash could try values until one fits.
    """
    if image is None:
        return None
    hidden = HIDDEN if image.get("kind") == "Secret" else ()
    found = [(path, None if path[:-1] in hidden else value) for path, value in _fields(image)]
    fields = sorted((json.dumps(path), json.dumps(value, sort_keys=True)) for path, value in found)
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def _fields(obj: Mapping[str, Any], at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf of a user's making with its path; lists are leaves. An empty mapping is the same as none."""
    for key, value in obj.items():
        path = (*at, key)
        if path == ("status",) or (at == ("metadata",) and key in OF_THE_SERVER):
            continue
        if isinstance(value, Mapping):
            yield from _fields(value, path)
        elif value is not None:
            yield path, value


def _differ(one: Mapping[Path, Any], other: Mapping[Path, Any], path: Path) -> bool:
    return bool(one.get(path, ABSENT) != other.get(path, ABSENT))


def _related(one: Path, other: Path) -> bool:
    """Whether one of two fields lies within the other, so that an object cannot have both."""
    return one != other and (one[: len(other)] == other or other[: len(one)] == one)


def _put(obj: Any, path: Path, value: Any) -> None:
    *parents, last = path
    for key in parents:
        obj = obj.setdefault(key, {})
    if value is ABSENT:
        obj.pop(last, None)
    else:
        obj[last] = copy.deepcopy(value)


def _texts(paths: set[Path]) -> tuple[str, ...]:
    return tuple(_text(path) for path in sorted(paths))


def _text(path: Path) -> str:
    """As kubectl would write it: ``metadata.annotations[network.cilium.io/wg-pub-key]``."""
    first, *rest = path
    return first + "".join(f".{key}" if key.replace("_", "").isalnum() else f"[{key}]" for key in rest)
