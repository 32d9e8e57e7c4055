"""Ports of rules: one port, a range, every port of a protocol, or the name of a container's port.

Facts: Cilium 1.20 ``pkg/policy/api/rule_validation.go`` (``PortProtocol.sanitize``), ``pkg/policy/rule.go``
(``mergeL4Filter``: ANY becomes TCP, UDP and SCTP), ``pkg/policy/api/icmp.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drills.cilium.parts import IcmpField, PortProtocol

TCP: Final = "TCP"
UDP: Final = "UDP"
SCTP: Final = "SCTP"
ICMP: Final = "ICMP"
ICMPV6: Final = "ICMPV6"
WITH_PORTS: Final = (TCP, UDP, SCTP)
"""Protocols that ANY, or no protocol, stands for."""

MAX_PORT: Final = 65535

NamedPorts = Mapping[tuple[str, str], int]
"""(name in lower case, protocol) -> number, of one pod."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports of one protocol, both ends included; 0 to 65535 is every port. For ICMP the ends are the message type."""

    protocol: str
    first: int
    last: int

    @property
    def every(self) -> bool:
        """Whether it is every port of the protocol."""
        return self.first == 0 and self.last == MAX_PORT

    def contains(self, protocol: str, port: int) -> bool:
        """Whether traffic of this protocol to this port (or ICMP type) is meant."""
        return protocol == self.protocol and self.first <= port <= self.last

    def __str__(self) -> str:
        if self.every:
            return f"0/{self.protocol}"
        return f"{self.first}{f'-{self.last}' if self.last != self.first else ''}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A port by the name that a container gives it: of the pod itself on ingress, of the destination on egress."""

    protocol: str
    name: str

    def resolve(self, named: NamedPorts) -> PortRange | None:
        """The port of a pod that has one of this name; None where it has none, and then nothing matches."""
        number = named.get((self.name, self.protocol))
        return None if number is None else PortRange(self.protocol, number, number)

    def __str__(self) -> str:
        return f"{self.name}/{self.protocol}"


Port = PortRange | NamedPort


def matches(port: Port | None, protocol: str, number: int, named: NamedPorts) -> bool:
    """Whether traffic to a port is meant; None means every protocol and every port."""
    if port is None:
        return True
    found = port.resolve(named) if isinstance(port, NamedPort) else port
    return found is not None and found.contains(protocol, number)


def is_service_name(text: str) -> bool:
    """Whether a port is a name and not a number (IANA service names: at most 15 characters, a letter among them)."""
    return (
        len(text) <= 15
        and re.fullmatch(r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*", text) is not None
        and any(character.isalpha() for character in text)
    )


def parse_number(text: str) -> int:
    """A port number as Go reads it with base 0: ``0`` before it means octal.

    :raises ValueError: with Go's words.
    """
    if not re.fullmatch(r"0[0-7]*|[1-9][0-9]*", text, re.ASCII):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    number = int(text, 8 if text.startswith("0") else 10)
    if number > MAX_PORT:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return number


def expand(port: PortProtocol) -> Iterator[Port]:
    """The ports that an element of ``ports`` means; it must have passed Sanitize."""
    text = port.port or "0"
    protocols = WITH_PORTS if port.protocol in {None, "ANY"} else (str(port.protocol),)
    for protocol in protocols:
        if is_service_name(text):
            yield NamedPort(protocol, text.lower())
            continue
        first = parse_number(text)
        last = max(first, port.end_port or first) if first else MAX_PORT
        yield PortRange(protocol, first, last)


def icmp(field: IcmpField) -> PortRange:
    """The message type that a field means; it must have passed Sanitize."""
    protocol, names = (ICMPV6, ICMPV6_TYPES) if field.family == "IPv6" else (ICMP, ICMP_TYPES)
    number = names[str(field.type)] if str(field.type) in names else int(field.type)
    return PortRange(protocol, number, number)


def named_ports(pod: Mapping[str, Any]) -> NamedPorts:
    """The named ports of a Kubernetes Pod."""
    return {
        (str(port["name"]).lower(), str(port.get("protocol") or TCP)): int(port["containerPort"])
        for container in pod.get("spec", {}).get("containers", ())
        for port in container.get("ports") or ()
        if port.get("name")
    }


ICMP_TYPES: Final[Mapping[str, int]] = {
    "EchoReply": 0, "DestinationUnreachable": 3, "Redirect": 5, "Echo": 8, "EchoRequest": 8, "RouterAdvertisement": 9,
    "RouterSelection": 10, "TimeExceeded": 11, "ParameterProblem": 12, "Timestamp": 13, "TimestampReply": 14,
    "Photuris": 40, "ExtendedEchoRequest": 42, "ExtendedEchoReply": 43,
}  # fmt: skip
ICMPV6_TYPES: Final[Mapping[str, int]] = {
    "DestinationUnreachable": 1, "PacketTooBig": 2, "TimeExceeded": 3, "ParameterProblem": 4, "EchoRequest": 128,
    "EchoReply": 129, "MulticastListenerQuery": 130, "MulticastListenerReport": 131, "MulticastListenerDone": 132,
    "RouterSolicitation": 133, "RouterAdvertisement": 134, "NeighborSolicitation": 135, "NeighborAdvertisement": 136,
    "RedirectMessage": 137, "RouterRenumbering": 138, "ICMPNodeInformationQuery": 139,
    "ICMPNodeInformationResponse": 140, "InverseNeighborDiscoverySolicitation": 141,
    "InverseNeighborDiscoveryAdvertisement": 142, "HomeAgentAddressDiscoveryRequest": 144,
    "HomeAgentAddressDiscoveryReply": 145, "MobilePrefixSolicitation": 146, "MobilePrefixAdvertisement": 147,
    "DuplicateAddressRequestCodeSuffix": 157, "DuplicateAddressConfirmationCodeSuffix": 158,
    "ExtendedEchoRequest": 160, "ExtendedEchoReply": 161,
}  # fmt: skip
