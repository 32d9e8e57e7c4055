"""Between two programs: what Envoy must allow while the packet filter still follows the old one.

Envoy and the packet filter cannot change in one instant. Envoy goes first; requests that the packet filter still
redirects, and with the new program no longer will, must meet the old rules until it does. Rules that stay behind are
harmless: nothing is redirected to them any more.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from drills.lab.agent.program import Direction, HttpMatch, NodeProgram, Ports


def bridging(old: NodeProgram, new: NodeProgram) -> NodeProgram:
    """The new program's HTTP rules, and the old ones of redirects that the new program does without."""
    before = {endpoint.address: endpoint for endpoint in old.endpoints}
    endpoints = [
        replace(
            endpoint,
            ingress=_with_old(endpoint.ingress, before[endpoint.address].ingress),
            egress=_with_old(endpoint.egress, before[endpoint.address].egress),
        )
        if endpoint.address in before
        else endpoint
        for endpoint in new.endpoints
    ]
    return NodeProgram(tuple(endpoints), _union(old.managed, new.managed), new.named)


def _with_old(new: Direction, old: Direction) -> Direction:
    kept = {match.match.ports for match in new.http}
    left = _left_over(old.http, kept)
    return replace(new, http=(*new.http, *left)) if left else new


def _left_over(http: tuple[HttpMatch, ...], kept: set[Ports]) -> tuple[HttpMatch, ...]:
    return tuple(match for match in http if match.match.ports not in kept)


def _union(*addresses: tuple[IPv4Address, ...]) -> tuple[IPv4Address, ...]:
    return tuple(sorted({address for group in addresses for address in group}))
