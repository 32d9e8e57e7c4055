"""One interface to every kind of attempt: what the probe is told, how an attempt is judged, and what proves a denial.

``kind_of(injection)`` is all that the engine needs to know of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from drills.inject import dns, http, postgres, tcp
from drills.inject.base import Judge, service_of
from drills.inject.proof import Maker, ProofSpec, makers_for
from drills.playbook import (
    Denied,
    DnsInjection,
    HttpInjection,
    PostgresInjection,
    ProbeInjection,
    TcpInjection,
)
from drills.playbook.model import SecretKey


class Kind(Protocol):
    """An injection or a control as the engine sees it."""

    @property
    def title(self) -> str:
        """What is tried, in a few words."""
        ...

    @property
    def host(self) -> str:
        """The name or address that is tried."""
        ...

    @property
    def port(self) -> int:
        """The port that is connected to."""
        ...

    @property
    def service(self) -> tuple[str, str] | None:
        """Namespace and name of the Service that may stand behind the host; None where there is none."""
        ...

    @property
    def secret(self) -> SecretKey | None:
        """Where the password stands that `config` wants."""
        ...

    def config(
        self, name: str, *, scale: float, addresses: Sequence[str] = (), password: str | None = None
    ) -> dict[str, Any]:
        """The first line of the probe's input; never written down, for it may carry a password."""
        ...

    def judge(
        self, denied: Sequence[Denied] = (), *, backends: bool = True, shared: frozenset[str] = frozenset()
    ) -> Judge:
        """How its attempts are judged.

        ``backends``: whether a pod stands behind the address. ``shared``: addresses that policy is known to admit
        under other names (`dns.answers` of the control's attempts).
        """
        ...

    def proof(self, denied: Sequence[Denied]) -> ProofSpec:
        """Where its denials are seen, beside the client."""
        ...


@dataclass(frozen=True, slots=True)
class HttpKind:
    """HTTP requests."""

    injection: HttpInjection
    secret: None = None

    @property
    def title(self) -> str:
        return f"{self.injection.method} {self.injection.url}"

    @property
    def host(self) -> str:
        return self.injection.host

    @property
    def port(self) -> int:
        return self.injection.port

    @property
    def service(self) -> tuple[str, str] | None:
        return service_of(self.injection.host)

    def config(
        self, name: str, *, scale: float, addresses: Sequence[str] = (), password: str | None = None
    ) -> dict[str, Any]:
        del password
        return http.probe_config(name, self.injection, scale=scale, addresses=addresses)

    def judge(
        self, denied: Sequence[Denied] = (), *, backends: bool = True, shared: frozenset[str] = frozenset()
    ) -> Judge:
        del shared
        return http.HttpJudge(self.injection, tuple(denied), backends)

    def proof(self, denied: Sequence[Denied]) -> ProofSpec:
        return ProofSpec(makers_for(denied, Maker.HTTP))


@dataclass(frozen=True, slots=True)
class DnsKind:
    """Lookups with a connection to the answer, or a connection to an address."""

    injection: DnsInjection
    service: None = None  # names are absolute: outside of the cluster
    secret: None = None

    @property
    def title(self) -> str:
        if dns.is_address(self.injection.name):
            return f"connect to {self.injection.name} port {self.port} without a lookup"
        return f"look up {self.injection.name}, connect to port {self.port}"

    @property
    def host(self) -> str:
        return self.injection.name

    @property
    def port(self) -> int:
        return self.injection.port

    def config(
        self, name: str, *, scale: float, addresses: Sequence[str] = (), password: str | None = None
    ) -> dict[str, Any]:
        del addresses, password
        return dns.probe_config(name, self.injection, scale=scale)

    def judge(
        self, denied: Sequence[Denied] = (), *, backends: bool = True, shared: frozenset[str] = frozenset()
    ) -> Judge:
        del backends
        return dns.DnsJudge(self.injection, tuple(denied), shared)

    def proof(self, denied: Sequence[Denied]) -> ProofSpec:
        if dns.is_address(self.injection.name):
            return ProofSpec((Maker.PACKETS,))
        return ProofSpec(makers_for(denied, Maker.DNS), dns.absolute(self.injection.name))


@dataclass(frozen=True, slots=True)
class TcpKind:
    """Connections."""

    injection: TcpInjection
    secret: None = None

    @property
    def title(self) -> str:
        return f"connect to {self.injection.host} port {self.port}"

    @property
    def host(self) -> str:
        return self.injection.host

    @property
    def port(self) -> int:
        return self.injection.port

    @property
    def service(self) -> tuple[str, str] | None:
        return service_of(self.injection.host)

    def config(
        self, name: str, *, scale: float, addresses: Sequence[str] = (), password: str | None = None
    ) -> dict[str, Any]:
        del password
        return tcp.probe_config(name, self.injection, scale=scale, addresses=addresses)

    def judge(
        self, denied: Sequence[Denied] = (), *, backends: bool = True, shared: frozenset[str] = frozenset()
    ) -> Judge:
        del shared
        return tcp.TcpJudge(self.injection, tuple(denied), backends)

    def proof(self, denied: Sequence[Denied]) -> ProofSpec:
        return ProofSpec(makers_for(denied, None))


@dataclass(frozen=True, slots=True)
class PostgresKind:
    """Logins."""

    injection: PostgresInjection

    @property
    def title(self) -> str:
        return f"log in to {self.injection.database} on {self.injection.host} as {self.injection.user}"

    @property
    def host(self) -> str:
        return self.injection.host

    @property
    def port(self) -> int:
        return self.injection.port

    @property
    def service(self) -> tuple[str, str] | None:
        return service_of(self.injection.host)

    @property
    def secret(self) -> SecretKey | None:
        return self.injection.password_from

    def config(
        self, name: str, *, scale: float, addresses: Sequence[str] = (), password: str | None = None
    ) -> dict[str, Any]:
        return postgres.probe_config(name, self.injection, scale=scale, addresses=addresses, password=password)

    def judge(
        self, denied: Sequence[Denied] = (), *, backends: bool = True, shared: frozenset[str] = frozenset()
    ) -> Judge:
        del shared
        return postgres.PostgresJudge(self.injection, tuple(denied), backends)

    def proof(self, denied: Sequence[Denied]) -> ProofSpec:
        return ProofSpec(makers_for(denied, None))


def kind_of(injection: ProbeInjection) -> Kind:
    """The kind of an injection or of a control."""
    match injection:
        case HttpInjection():
            return HttpKind(injection)
        case DnsInjection():
            return DnsKind(injection)
        case TcpInjection():
            return TcpKind(injection)
        case PostgresInjection():
            return PostgresKind(injection)
