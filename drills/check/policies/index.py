"""Indexes by what must be equal, so that the cost grows with the number of policies and not with its square.

A selector that asks for a namespace and for a label can only select what has both: only those are asked. An entry
stands under its rule's subject, its peer and its port, and of these the rarest is looked up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Generic, TypeVar

from drills.cilium.entries import CompiledRule, Direction, Entry
from drills.cilium.labels import NAMESPACE, Labels, split_key
from drills.cilium.peers import CidrPeer, EndpointSelectorPeer, FqdnPeer, Peer, Remote
from drills.cilium.ports import NamedPorts, Port, PortRange
from drills.cilium.selector import Operator, Selector

Label = tuple[str, str]  # bare key and value
Key = tuple[str | None, Label | None]  # a namespace and a label in it; None where a selector names none
T = TypeVar("T")


class BySelector(Generic[T]):
    """Things by what their selector must find: only those that can select some labels are asked."""

    def __init__(self, things: Iterable[T], selector: Callable[[T], Selector]) -> None:
        self._by_key: dict[Key, list[tuple[int, T]]] = defaultdict(list)
        for number, thing in enumerate(things):
            self._by_key[key_of(selector(thing))].append((number, thing))

    def candidates(self, labels: Labels) -> Iterator[T]:
        """What may select the labels, in its order."""
        found = [self._by_key[key] for key in keys_of(labels) if key in self._by_key]
        return (thing for _, thing in merge(*found, key=lambda each: each[0]))


class ByLabels(Generic[T]):
    """Things by the labels that they have: only those are asked that have what a selector must find."""

    def __init__(self, things: Iterable[T], labels: Callable[[T], Labels]) -> None:
        self._by_key: dict[Key, list[T]] = defaultdict(list)
        for thing in things:
            for key in keys_of(labels(thing)):
                self._by_key[key].append(thing)

    def candidates(self, selector: Selector) -> list[T]:
        """What the selector may select, in its order."""
        return self._by_key.get(key_of(selector), [])


@dataclass(frozen=True, slots=True)
class _Placed:
    number: int
    rule: CompiledRule
    entry: Entry


class Entries:
    """Entries of many rules, asked for those that are about some pod, some remote end and some port."""

    def __init__(self, entries: Iterable[tuple[CompiledRule, Entry]]) -> None:
        self._tables: tuple[dict[Hashable, list[_Placed]], ...] = (
            defaultdict(list),
            defaultdict(list),
            defaultdict(list),
        )
        for number, (rule, entry) in enumerate(entries):
            placed = _Placed(number, rule, entry)
            keys = ((rule.direction, key_of(rule.subject)), _peer_key(entry.peer), _port_key(entry.port))
            for table, key in zip(self._tables, keys, strict=True):
                table[key].append(placed)

    def matching(
        self, direction: Direction, labels: Labels, remote: Remote, protocol: str, port: int, named: NamedPorts
    ) -> Iterator[Entry]:
        """The entries for a pod with these labels that mean the remote end and the port, in their order."""
        wanted: tuple[list[Hashable], ...] = (
            [(direction, key) for key in keys_of(labels)],
            [*keys_of(remote.identity.labels), _ANYBODY, *([_OUTSIDE] if remote.identity.outside else [])],
            [(protocol, port), None],
        )
        options = [
            [table[key] for key in keys if key in table] for table, keys in zip(self._tables, wanted, strict=True)
        ]
        rarest = min(options, key=lambda lists: sum(map(len, lists)))
        for placed in merge(*rarest, key=lambda each: each.number):
            rule, entry = placed.rule, placed.entry
            if (
                rule.direction == direction
                and entry.matches(remote, protocol, port, named)
                and rule.subject.matches(labels)
            ):
                yield entry


_ANYBODY = "anybody"
_OUTSIDE = "outside"


def _peer_key(peer: Peer) -> Hashable:
    if isinstance(peer, EndpointSelectorPeer):
        return key_of(peer.selector)
    return _OUTSIDE if isinstance(peer, CidrPeer | FqdnPeer) else _ANYBODY


def _port_key(port: Port | None) -> Hashable:
    """The port itself; None where it may be one of several."""
    return (port.protocol, port.first) if isinstance(port, PortRange) and port.first == port.last else None


def key_of(selector: Selector) -> Key:
    """What whatever is selected must have: its namespace and one label."""
    equal = [each for each in selector.requirements if each.operator is Operator.IN and len(each.values) == 1]
    namespace = next((each.values[0] for each in equal if each.key == NAMESPACE), None)
    label = next(((each.key, each.values[0]) for each in equal if each.key != NAMESPACE), None)
    return namespace, label


def keys_of(labels: Labels) -> set[Key]:
    """Every key under which a selector may stand that selects these labels."""
    bare = {(split_key(key)[1], value) for key, value in labels.items()}
    namespaces = {value for key, value in bare if key == NAMESPACE}
    return {(namespace, label) for namespace in (*namespaces, None) for label in (*bare, None)}
