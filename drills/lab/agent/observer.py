"""From what the kernel and Envoy report to flows and counts: the eyes of one node's agent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address
from time import time
from typing import Any, Literal

from drills.cilium.decide import Policies
from drills.cilium.entries import INGRESS, PolicyRef
from drills.cilium.labels import Identity, Labels
from drills.lab.agent import envoy_config, nftables
from drills.lab.agent.cluster import Cluster, Pod, identity_of
from drills.lab.agent.compile import PolicyNumbers
from drills.lab.agent.exporter import Agent
from drills.lab.agent.flows import Dns, End, Event, Flow, Http, Lost, Ring
from drills.lab.agent.nflog import Packet

Address = tuple[IPv4Address, int]
MAX_KNOWN = 4096  # addresses that are remembered with who they are
DirectionName = Literal["INGRESS", "EGRESS"]
_Deniers = tuple[tuple[PolicyRef, ...], tuple[str, ...]]  # policies, and their texts for flows


class Observer:
    """Turns reports into events, explained by what the node last realised (`learn`)."""

    def __init__(self, node: str, numbers: PolicyNumbers) -> None:
        self.node = node
        self.ring = Ring(node)
        self.agent = Agent()
        self.cluster = Cluster()
        self._policies = Policies()
        self._numbers = numbers
        self._known_ends: dict[IPv4Address, tuple[Identity, Pod | None, bool]] = {}
        self._known_deniers: dict[tuple[int, str, int], _Deniers] = {}

    def learn(self, cluster: Cluster, policies: Policies) -> None:
        """What the node has realised: events from now on are explained by it."""
        self.cluster = cluster
        self._known_ends.clear()
        if policies is not self._policies:
            self._policies = policies
            self._known_deniers.clear()

    def restart(self) -> None:
        """Forget what an agent process forgets when it ends."""
        self.ring.clear()
        self.agent = Agent()

    def packets(self, packets: list[Packet], *, lost: bool) -> None:
        """Dropped packets, and whether the kernel had to throw reports away."""
        if lost:
            # the kernel does not say how many: at least one
            self._emit(Lost(time(), "PERF_EVENT_RING_BUFFER", 1))
        for packet in packets:
            try:
                dropped = nftables.parse_log_prefix(packet.prefix)
            except ValueError:
                continue
            self._drop(packet, dropped)

    def _drop(self, packet: Packet, dropped: nftables.Dropped) -> None:
        direction: DirectionName = "INGRESS" if dropped.direction == "ingress" else "EGRESS"
        source, destination = self._ends(
            (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        )
        by, logs = self._deniers(dropped, destination if direction == INGRESS else source, direction)
        kinds: tuple[Literal["policy-verdict", "drop"], ...] = ("policy-verdict", "drop")
        for kind in kinds if dropped.reason != nftables.INVALID_SOURCE else kinds[1:]:
            self._emit(
                Flow(
                    at=packet.at,
                    kind=kind,
                    verdict="DROPPED",
                    direction=direction,
                    source=source,
                    destination=destination,
                    protocol=packet.protocol,
                    flags=packet.flags,
                    reason=dropped.reason,
                    match_type=dropped.match_type,
                    by=by if kind == "policy-verdict" else (),
                    logs=logs if kind == "policy-verdict" else (),
                )
            )

    def request(self, entry: Mapping[str, Any]) -> None:
        """A line of Envoy's access log (keys: `envoy_config.ACCESS_LOG`).

        Counted as cilium-agent counts what its Envoy logs (Cilium 1.20 pkg/endpoint/endpoint.go,
        UpdateProxyStatistics; cilium/proxy cilium/l7policy.cc): one record for the request, forwarded or denied, and
        one for the response, always forwarded. So a denied request is received 2, denied 1, forwarded 1. What Envoy
        refuses before any policy (no valid HTTP, an escaped slash) leaves no record.
        """
        if entry["route"] != envoy_config.ROUTE:
            return
        denied = str(entry["details"] or "").startswith(envoy_config.DENIED_DETAILS)
        source, destination = self._ends(_address(entry["from"]), _address(entry["to"]))
        direction: DirectionName = "INGRESS" if entry["dir"] == "ingress" else "EGRESS"
        started, latency = float(entry["at"]), int(entry["ms"] or 0) / 1000
        http = Http(
            method=entry["method"] or "",
            url=f"http://{entry['authority'] or destination.address}{entry['path'] or '/'}",
            protocol=entry["protocol"] or "",
            headers=_headers(entry),
        )
        self.agent.request("denied" if denied else "forwarded", "envoy")
        self._emit(
            Flow(started, "l7", "DROPPED" if denied else "FORWARDED", direction, source, destination,
                 message="REQUEST", http=http)
        )  # fmt: skip
        code = int(entry["code"] or 0)
        if not code:
            return  # the client left before there was an answer
        self.agent.request("forwarded", "envoy")
        answer = Http(http.method, http.url, http.protocol, code, http.headers)
        self._emit(
            Flow(started + latency, "l7", "FORWARDED", direction, destination, source,
                 message="RESPONSE", latency=latency, http=answer)
        )  # fmt: skip

    def lookup(self, at: float, protocol: str, client: Address, server: Address, dns: Dns, *, denied: bool) -> None:
        """A DNS query that the DNS proxy saw; ``denied`` if it answered REFUSED by policy."""
        source, destination = self._ends(client, server)
        self.agent.request("denied" if denied else "forwarded", "fqdn")
        verdict: Literal["DROPPED", "FORWARDED"] = "DROPPED" if denied else "FORWARDED"
        self._emit(Flow(at, "l7", verdict, "EGRESS", source, destination, protocol, message="REQUEST", dns=dns))

    def answer(self, at: float, protocol: str, client: Address, server: Address, dns: Dns, latency: float) -> None:
        """An answer that the DNS proxy passed on."""
        source, destination = self._ends(client, server)
        self.agent.request("forwarded", "fqdn")
        self._emit(
            Flow(at, "l7", "FORWARDED", "EGRESS", destination, source, protocol,
                 message="RESPONSE", latency=latency, dns=dns)
        )  # fmt: skip

    def _emit(self, event: Event) -> None:
        self.ring.add(event)
        self.agent.flow(event)

    def _ends(self, source: Address, destination: Address) -> tuple[End, End]:
        return self._end(*source), self._end(*destination)

    def _end(self, address: IPv4Address, port: int) -> End:
        known = self._known_ends.get(address)
        if known is None:
            pod = self.cluster.by_address.get(address)
            identity = identity_of(self.cluster, self.node, address)
            known = (identity, pod, pod is not None and pod.node == self.node)
            if len(self._known_ends) < MAX_KNOWN:
                self._known_ends[address] = known
        return End(address, port, *known)

    def _deniers(self, dropped: nftables.Dropped, subject: End, direction: DirectionName) -> _Deniers:
        """The policies behind a drop: the deny rule's; for what no rule allows Cilium names none, either."""
        if dropped.by is None:
            return (), ()
        key = (subject.identity.number, direction, dropped.by)
        found = self._known_deniers.get(key)
        if found is None:
            found = self._known_deniers[key] = self._find_deniers(dropped.by, subject.identity.labels, direction)
        return found

    def _find_deniers(self, by: int, labels: Labels, direction: DirectionName) -> _Deniers:
        rules = [each for each in self._policies.rules if each.direction == direction and each.subject.matches(labels)]
        rules = [rule for rule in rules if rule.origin == self._numbers.policy(by)]
        logs = {entry.log for rule in rules for entry in (*rule.deny, *rule.allow) if entry.log}
        return tuple(dict.fromkeys(rule.origin for rule in rules)), tuple(sorted(logs))


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return _host(host), int(port)


@lru_cache(MAX_KNOWN)
def _host(text: str) -> IPv4Address:
    return IPv4Address(text)


def _headers(entry: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    given = (("User-Agent", entry["agent"]), ("X-Request-Id", entry["id"]))
    return tuple((name, str(value)) for name, value in given if value)
