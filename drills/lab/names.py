"""What the lab's names mean: cluster names as CoreDNS answers them, outside names by a table of their own.

Every outside name gets an address that no other name has: were two names on one address, a policy that
admits the one would admit the other (in Cilium too), and a drill could not tell them apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal, Protocol

from drills.lab import plan

CLUSTER_DOMAIN = ("cluster", "local")
CLUSTER_TTL = 30  # CoreDNS's default in Kubernetes
OUTSIDE_TTL = 60
MAX_CHAIN = 8

# A name under anything else does not exist, as on the Internet: the misspelt Service `http-api.bakend` must not
# lead outside, to a server that answers everything. Two-letter domains are ISO 3166's, with eu, uk, su and ac.
_GENERIC = (
    "com net org info biz edu gov mil int arpa name pro aero coop museum jobs mobi travel cat tel xxx post "
    "app dev page cloud online site website tech store shop blog xyz top club live news media email link click "
    "space world today digital network systems solutions services software security codes computer run works zone "
    "agency company group life team work fun icu win bid download stream science example test onion"
)
_COUNTRIES = (
    "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd "
    "cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge "
    "gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh "
    "ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw "
    "mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb "
    "sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk "
    "us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw"
)
TOP_DOMAINS = frozenset((_GENERIC + " " + _COUNTRIES).split())

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address behind a Service; ``hostname`` is what a StatefulSet's pod is called."""

    address: str
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class ServiceName:
    """What DNS needs to know of a Service: a cluster IP, or endpoints where it is headless, or another name."""

    cluster_ip: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    external_name: str = ""


class Catalog(Protocol):
    """The cluster as DNS sees it."""

    def has_namespace(self, namespace: str) -> bool: ...

    def service(self, namespace: str, name: str) -> ServiceName | None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """``ok`` without addresses means: the name exists, but has no IPv4 address."""

    status: Literal["ok", "nxdomain", "servfail"]
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()  # the chain of CNAMEs before the addresses
    ttl: int = CLUSTER_TTL


NXDOMAIN = Answer("nxdomain")


class OutsideNames:
    """One address for each outside name: decided by the name alone, unless another name has it already."""

    def __init__(self, network: IPv4Network = plan.OUTSIDE, limit: int | None = None) -> None:
        self._network = network
        self._limit = limit or network.num_addresses // 2
        self._by_name: dict[str, IPv4Address] = {}
        self._by_address: dict[IPv4Address, str] = {}

    def address_of(self, name: str) -> str | None:
        """The name's address; None once the table is full."""
        known = self._by_name.get(name)
        if known is not None:
            return str(known)
        if len(self._by_name) >= self._limit:
            return None
        usable = self._network.num_addresses - 2  # neither the first nor the last address
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % usable
        for step in range(usable):
            address = self._network[1 + (start + step) % usable]
            if address not in self._by_address:
                self._by_name[name] = address
                self._by_address[address] = name
                return str(address)
        return None

    def name_of(self, address: str) -> str | None:
        """The name that an outside address was given to."""
        return self._by_address.get(IPv4Address(address))


def resolve(name: str, catalog: Catalog, outside: OutsideNames) -> Answer:
    """The IPv4 answer for a fully qualified name (a final dot is ignored, case does not matter)."""
    aliases: list[str] = []
    for _ in range(MAX_CHAIN):
        labels = tuple(name.lower().rstrip(".").split("."))
        if labels[-2:] != CLUSTER_DOMAIN:
            answer = _outside(labels, catalog, outside)
        else:
            found = _cluster(labels[:-2], catalog)
            if isinstance(found, str):
                aliases.append(found)
                name = found
                continue
            answer = found
        return Answer(answer.status, answer.addresses, tuple(aliases), answer.ttl)
    return Answer("servfail")


def _outside(labels: Labels, catalog: Catalog, outside: OutsideNames) -> Answer:
    top = labels[-1]
    if len(labels) < 2 or top not in TOP_DOMAINS or catalog.has_namespace(top) or not all(labels):
        return NXDOMAIN
    address = outside.address_of(".".join(labels))
    return Answer("ok", (address,), ttl=OUTSIDE_TTL) if address else Answer("servfail")


def _cluster(labels: Labels, catalog: Catalog) -> Answer | str:
    """The answer for what stands before ``cluster.local``; a string is another name to ask for."""
    match labels:
        case () | ("svc",) | ("pod",):
            return Answer("ok")
        case (namespace, "svc" | "pod"):
            return Answer("ok") if catalog.has_namespace(namespace) else NXDOMAIN
        case (dashed, namespace, "pod"):
            address = _dashed(dashed)
            return Answer("ok", (address,)) if address and catalog.has_namespace(namespace) else NXDOMAIN
        case (*below, service, namespace, "svc"):
            found = catalog.service(namespace, service)
            return _below(tuple(below), found) if found else NXDOMAIN
        case _:
            return NXDOMAIN


def _below(labels: Labels, service: ServiceName) -> Answer | str:
    match labels:
        case ():
            return _service(service)
        case (host,):
            return _endpoint(service, host)
        case (*_, "_tcp" | "_udp"):
            return Answer("ok")  # SRV records, which the lab does not serve
        case _:
            return NXDOMAIN


def _service(service: ServiceName) -> Answer | str:
    if service.external_name:
        return service.external_name
    if service.cluster_ip:
        return Answer("ok", (service.cluster_ip,))
    # CoreDNS says NXDOMAIN for a headless Service that nothing is ready behind
    return Answer("ok", _addresses(service.endpoints)) if service.endpoints else NXDOMAIN


def _endpoint(service: ServiceName, host: str) -> Answer:
    if service.cluster_ip or service.external_name:
        return NXDOMAIN
    address = _dashed(host)
    found = [endpoint for endpoint in service.endpoints if endpoint.hostname == host or endpoint.address == address]
    return Answer("ok", _addresses(found)) if found else NXDOMAIN


def _addresses(endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
    return tuple(endpoint.address for endpoint in endpoints)


def _dashed(text: str) -> str | None:
    """``10-244-1-17`` as an address."""
    try:
        return str(IPv4Address(text.replace("-", "."))) if "." not in text else None
    except ValueError:
        return None
