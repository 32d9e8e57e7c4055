"""The policies of the API as the agents import them: valid or not, with the revision that each one came with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from drills.cilium.decide import Policies
from drills.cilium.model import NetworkPolicy
from drills.cilium.peers import Services, ServiceTarget
from drills.cilium.policy import UnreadablePolicyError, parse
from drills.cilium.sanitize import VALID, Validity, import_errors, validity
from drills.lab.agent.coverage import unenforced
from drills.lab.api.types import Obj, labels_of, name_of, namespace_of, uid_of

_ACCEPTED = Validity(True, VALID)


@dataclass(frozen=True, slots=True)
class Import:
    """What became of one generation of one policy object."""

    uid: str
    kind: str
    namespace: str | None
    name: str
    generation: int
    revision: int
    policy: NetworkPolicy | None  # None where Cilium refuses it
    errors: tuple[str, ...] = ()  # what the agent has against it
    validity: Validity = _ACCEPTED  # what the operator says of it
    unenforced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One import or removal, for ``cilium_policy_change_total``."""

    operation: Literal["update", "delete"]
    outcome: Literal["success", "fail"]


class Book:
    """All policies that are there, by uid. The revision rises with every change, as an agent's does."""

    def __init__(self) -> None:
        self.revision = 1
        self.imports: dict[str, Import] = {}
        self.policies = Policies()
        self._services: Services = {}

    def update(self, objects: Iterable[Obj], services: Services) -> list[Change]:
        """Take over what the API holds now; says what changed."""
        changes: list[Change] = []
        present: dict[str, Import] = {}
        for obj in objects:
            uid, generation = uid_of(obj), int(obj["metadata"].get("generation", 1))
            known = self.imports.get(uid)
            if known is None or known.generation != generation:
                self.revision += 1
                known = _import(obj, generation, self.revision)
                changes.append(Change("update", "success" if known.policy else "fail"))
            present[uid] = known
        for _ in self.imports.keys() - present.keys():
            self.revision += 1
            changes.append(Change("delete", "success"))
        self.imports = present
        if changes or services != self._services:
            self._services = services
            valid = [each.policy for each in present.values() if each.policy is not None]
            self.policies = Policies.build(valid, services=services)
        return changes


def warm_up() -> None:
    """Build what the first policy would otherwise wait for (the schema, the validators): about 0.1 s."""
    spec = {"endpointSelector": {}, "ingress": [{"toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{}]}}]}]}
    metadata = {"name": "warm-up", "namespace": "default", "uid": "0"}
    obj = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}
    Book().update([obj], {})


def _import(obj: Obj, generation: int, revision: int) -> Import:
    policy: NetworkPolicy | None
    try:
        policy = parse(obj)
        errors, valid = import_errors(policy), validity(policy)
    except UnreadablePolicyError as error:
        policy, errors, valid = None, [str(error)], Validity(False, str(error))
    return Import(
        uid=uid_of(obj),
        kind=obj["kind"],
        namespace=namespace_of(obj),
        name=name_of(obj),
        generation=generation,
        revision=revision,
        policy=None if errors else policy,
        errors=tuple(errors),
        validity=valid,
        unenforced=() if errors or policy is None else tuple(unenforced(policy)),
    )


def services_of(services: Iterable[Obj], endpoints: Iterable[Obj]) -> Services:
    """What is behind each Service: its selector, or the addresses of the Endpoints of one without."""
    addresses = {(namespace_of(obj) or "", name_of(obj)): _addresses(obj) for obj in endpoints}
    found: dict[tuple[str, str], ServiceTarget] = {}
    for obj in services:
        key = (namespace_of(obj) or "", name_of(obj))
        selector: Mapping[str, str] | None = (obj.get("spec") or {}).get("selector") or None
        outside = frozenset() if selector else frozenset(map(ip_address, addresses.get(key, ())))
        found[key] = ServiceTarget(selector, labels_of(obj), outside)
    return found


def _addresses(endpoints: Obj) -> list[str]:
    return [
        address["ip"]
        for subset in endpoints.get("subsets") or []
        for address in subset.get("addresses") or []
        if address.get("ip")
    ]
