"""Faults in a node's WireGuard set-up: what to change and how to undo it, as data, and whether it worked. Pure.

What an agent makes of each (CILIUM's sources, pkg/wireguard/agent): a changed public key replaces the peer on all other
nodes, which closes the path; an annotation that is gone is ignored, and the path stays open; a device that is gone is a
black hole until the agent starts again; a key file that is gone is made anew when the agent starts, with another key.
"""

from __future__ import annotations

import base64
import copy
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from drills.cilium.encryption import (
    KEY_BYTES,
    PUBLIC_KEY,
    PUBLIC_KEY_ALIAS,
    UNKNOWN,
    WIREGUARD,
    Picture,
    is_key,
    published_in,
)
from drills.cilium.peering import lacks, unheard
from drills.errors import WorldError
from drills.kube.api import Obj
from drills.kube.references import Reference
from drills.playbook import WireguardInjection

_RUN = re.compile(r"[a-z0-9-]{1,60}")


@dataclass(frozen=True, slots=True)
class Replace:
    """Write an object as ``after``; undone by the object's before-image."""

    object: Reference
    before: Obj
    after: Obj


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete an object; undone by its before-image."""

    object: Reference
    before: Obj


@dataclass(frozen=True, slots=True)
class HideKeyFile:
    """Rename the private key's file in the agent's state directory, so that the agent finds none: it never leaves the
    node. ``run`` is the end of its new name.
    """

    node: str
    run: str


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Delete ``cilium_wg0``."""

    node: str


@dataclass(frozen=True, slots=True)
class RestartAgent:
    """Delete the agent's pod and wait for its successor."""

    node: str


@dataclass(frozen=True, slots=True)
class RepairAgent:
    """Put the key's file back, if ``run`` has hidden one, and restart the agent, which then sets up everything.
    ``published``: the public key that the node had before.
    """

    node: str
    run: str | None = None
    published: str = ""

    def __post_init__(self) -> None:
        if self.run is not None and not _RUN.fullmatch(self.run):
            raise ValueError(f"{self.run!r} names no run")


@dataclass(frozen=True, slots=True)
class RestoreObject:
    """Put an object back as it was; ``after`` is what it was changed to, None if it was deleted."""

    object: Reference
    before: Obj
    after: Obj | None


Change: TypeAlias = Replace | Remove | HideKeyFile | DeleteDevice | RestartAgent
Undo: TypeAlias = RestoreObject | RepairAgent


@dataclass(frozen=True, slots=True)
class Step:
    """One change. Its undo is written down before it; None where an earlier step's undo covers it."""

    what: str
    change: Change
    undo: Undo | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A fault: its steps in order. ``key`` is the foreign public key that key-replaced publishes."""

    injection: WireguardInjection
    steps: tuple[Step, ...]
    key: str = ""

    @property
    def renews(self) -> bool:
        """Whether it ends sessions, so that a handshake newer than the undo can be expected at once; where it does not,
        the old session goes on and renews itself after two minutes of traffic.
        """
        return self.injection.fault in ("key-replaced", "device-deleted", "key-file-deleted")


def fresh_key() -> str:
    """A valid public key for which nobody has the private one."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def plan(
    injection: WireguardInjection, run: str, nodes: Mapping[str, Obj], secret: Obj | None = None, key: str | None = None
) -> Plan:
    """What a fault changes. ``nodes``: the CiliumNodes by name; ``secret``: the one that the injection names.

    WorldError where the target is not one that the fault can be tried on.
    """
    if injection.node not in nodes:
        raise WorldError(f"There is no CiliumNode {injection.node}; there are {', '.join(sorted(nodes)) or 'none'}")
    if len(nodes) < 2:
        raise WorldError("There is one node only: nothing is encrypted on it, and no WireGuard drill can be made")
    node, name = nodes[injection.node], injection.node
    match injection.fault:
        case "key-replaced":
            key = key or fresh_key()
            return Plan(injection, (_publish(name, node, key),), key)
        case "key-removed":
            return Plan(injection, (_publish(name, node, None),))
        case "key-file-deleted":
            repair = RepairAgent(name, run, published_in(node))
            hide = Step(f"hide the private key of {name}", HideKeyFile(name, run), repair)
            return Plan(injection, (hide, Step(f"restart the agent of {name}", RestartAgent(name), None)))
        case "device-deleted":
            repair = RepairAgent(name, published=published_in(node))
            return Plan(injection, (Step(f"delete cilium_wg0 of {name}", DeleteDevice(name), repair),))
        case "secret-deleted":
            return Plan(injection, (_delete_secret(injection, secret),))


def _publish(name: str, node: Obj, key: str | None) -> Step:
    if not is_key(published_in(node)):
        raise WorldError(f"CiliumNode {name} has no annotation {PUBLIC_KEY}: WireGuard is not in use there")
    after = copy.deepcopy(node)
    annotations = {k: v for k, v in after["metadata"]["annotations"].items() if k not in (PUBLIC_KEY, PUBLIC_KEY_ALIAS)}
    if key is not None:
        annotations[PUBLIC_KEY] = key
    after["metadata"]["annotations"] = annotations
    where = Reference("cilium.io/v2", "ciliumnodes", name)
    what = f"replace the public key of {name}" if key is not None else f"remove the public key of {name}"
    return Step(what, Replace(where, node, after), RestoreObject(where, node, after))


def _delete_secret(injection: WireguardInjection, secret: Obj | None) -> Step:
    named = injection.secret
    if named is None or secret is None:
        raise WorldError(f"There is no Secret {named}" if named is not None else "secret-deleted names no Secret")
    metadata = secret["metadata"]
    where = Reference("v1", "secrets", metadata["name"], metadata["namespace"])
    return Step(f"delete Secret {named}", Remove(where, secret), RestoreObject(where, secret, None))


class EffectState(StrEnum):
    """Whether a fault is there."""

    EFFECTIVE = "effective"
    PENDING = "pending"  # not everywhere yet
    HEALED = "healed"  # the agent, or somebody, has repaired it already


@dataclass(frozen=True, slots=True)
class Effect:
    """How far a fault is, with what was seen."""

    state: EffectState
    reason: str = ""


def effect(plan: Plan, before: Picture, now: Picture, *, secret_there: bool = False) -> Effect:
    """Whether a fault has taken effect, by what the nodes said ``before`` it and say ``now``.

    This is not yet whether the path is closed: that, only probes tell.
    """
    name = plan.injection.node
    was, is_ = before[name], now.get(name, before[name])
    others = {node: keys for node, keys in now.items() if node != name}
    match plan.injection.fault:
        case "key-replaced":
            found = _followed(others, plan.key)
            return found if is_.published != was.published else _healed(f"CiliumNode {name} has its own key again")
        case "key-removed":
            return _gone(not is_.published, f"the public key of CiliumNode {name}")
        case "key-file-deleted":
            late = Effect(EffectState.PENDING, f"{name} has not published another key yet")
            return late if is_.published in (was.published, "") else _followed(others, is_.published)
        case "device-deleted":
            silent = is_.encryption.mode != WIREGUARD
            late = Effect(EffectState.PENDING, f"the agent of {name} does not say: {is_.encryption.message}")
            return late if silent else _gone(is_.device is None, f"the device of {name}")
        case "secret-deleted":
            return _gone(not secret_there, f"Secret {plan.injection.secret}")


def _gone(gone: bool, what: str) -> Effect:
    return Effect(EffectState.EFFECTIVE, f"{what} is gone") if gone else _healed(f"{what} is there again")


def _healed(reason: str) -> Effect:
    return Effect(EffectState.HEALED, reason)


def _followed(others: Picture, key: str) -> Effect:
    late = [node for node, keys in others.items() if keys.device is None or keys.device.peer(key) is None]
    if late:
        return Effect(EffectState.PENDING, f"not known yet on {', '.join(sorted(late))}")
    return Effect(EffectState.EFFECTIVE, f"every other node has the peer {key[:8]}...")


@dataclass(frozen=True, slots=True)
class Missing:
    """What a repaired set-up is short of, in sentences; neither once it is as before."""

    lacking: tuple[str, ...] = ()  # seen to differ
    unknown: tuple[str, ...] = ()  # what nobody says

    def __add__(self, other: Missing) -> Missing:
        return Missing((*self.lacking, *other.lacking), (*self.unknown, *other.unknown))

    def unawaited(self) -> Missing:
        """The same where nobody waited: what is still on its way is not known to be lost."""
        return Missing((), (*self.lacking, *self.unknown))


def missing_after(plan: Plan, before: Picture, now: Picture, since: float) -> Missing:
    """How far a repaired set-up is from what it was.

    ``since``: when the undo began, Unix time by the nodes' clock: what it repairs talks again before it has ended.
    """
    told = [node for node in sorted(before.keys() & now.keys()) if now[node].encryption.mode != UNKNOWN]
    return Missing(
        lacking=(
            *(f"{node} is not there" for node in sorted(before.keys() - now.keys())),
            *(text for node in told for text in lacks(node, before[node].published, now)),
            *(unheard(plan.injection.node, now, since) if plan.renews else ()),
        ),
        unknown=tuple(
            f"the agent of {node} does not say how its encryption is: {keys.encryption.message}"
            for node, keys in sorted(now.items())
            if keys.encryption.mode == UNKNOWN
        ),
    )
