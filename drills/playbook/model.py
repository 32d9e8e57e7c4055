"""The playbook as typed objects: the schema of what a user writes, and what every other part reads.

Durations are float seconds and rates attempts per second, both in playbook time (the lab's clock may run faster:
``drills.inject`` scales). A drill that comes from ``drills.playbook.load`` has every default filled in: a control that
leaves out its duration and timeout carries those of the injection, a drill its playbook's ``notify``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from drills.playbook.fields import (
    HeaderName,
    HeaderValue,
    Host,
    LabelKey,
    LabelValue,
    Many,
    Model,
    Name,
    NamespacedName,
    ObjectName,
    Port,
    Rate,
    Seconds,
    Status,
    Text,
    Url,
    problem,
)

# --- who acts -------------------------------------------------------------------------------------------------------


class Source(Model):
    """An identity: a drill pod of its own gets these labels, this service account and, if named, this node."""

    namespace: Name
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    service_account: ObjectName | None = None
    node: ObjectName | None = None


class ExistingPod(Model):
    """A pod that is there already acts itself: in its own container, or in an ephemeral one that is added to it.

    An ephemeral container can be ended, but never removed: its entry stays in the pod until the pod goes.
    """

    pod: NamespacedName
    ephemeral: bool = False

    @property
    def namespace(self) -> str:
        return self.pod.partition("/")[0]

    @property
    def name(self) -> str:
        return self.pod.partition("/")[2]


def _source_tag(value: Any) -> str:
    return "<pod>" if isinstance(value, ExistingPod) or (isinstance(value, dict) and "pod" in value) else "<identity>"


def _from_tag(value: Any) -> str:
    return _source_tag(value) if isinstance(value, dict | Model) else "<name>"


AnySource: TypeAlias = Annotated[
    Annotated[Source, Tag("<identity>")] | Annotated[ExistingPod, Tag("<pod>")], Discriminator(_source_tag)
]
From: TypeAlias = Annotated[
    Annotated[Text, Tag("<name>")] | Annotated[Source, Tag("<identity>")] | Annotated[ExistingPod, Tag("<pod>")],
    Discriminator(_from_tag),
]


# --- what is done ---------------------------------------------------------------------------------------------------


class Paced(Model):
    """Something that a source does for a while, at a rate."""

    kind: ClassVar[str]
    source: From = Field(alias="from")
    rate: Rate
    duration: Seconds

    @property
    def attempts(self) -> int:
        """How many attempts rate and duration make: 5/s for 3m are 900."""
        return int(self.rate * self.duration + 1e-6)


class Probed(Paced):
    """Attempts that a probe in the source makes."""

    timeout: Seconds  # wall clock: kernels are not scaled


class HttpInjection(Probed):
    """HTTP requests, each on a connection of its own; ``status`` is what success looks like."""

    kind: ClassVar[str] = "http"
    url: Url
    method: Annotated[str, StringConstraints(pattern=r"^[A-Z]+$")] = "GET"
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    body: str = ""
    status: Status = 200
    timeout: Seconds = 5.0

    @property
    def tls(self) -> bool:
        return self.url.startswith("https:")

    @property
    def host(self) -> str:
        """The host's name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (443 if self.tls else 80)

    @property
    def authority(self) -> str:
        """Host and port as the Host header carries them."""
        return urlsplit(self.url).netloc

    @property
    def target(self) -> str:
        """Path and query exactly as written: ``/public/../admin`` stays so."""
        target = self.url.partition("://")[2][len(self.authority) :]
        return target if target.startswith("/") else "/" + target


class DnsInjection(Probed):
    """Look a name up, then connect to the answer."""

    kind: ClassVar[str] = "dns"
    name: Host
    port: Port = 443
    timeout: Seconds = 2.0


class TcpInjection(Probed):
    """Open a TCP connection."""

    kind: ClassVar[str] = "tcp"
    host: Host
    port: Port
    timeout: Seconds = 2.0


class SecretKey(Model):
    """Where a password stands; it never enters a playbook."""

    secret: NamespacedName
    key: Text


class PostgresInjection(Probed):
    """Log in to PostgreSQL and ``SELECT 1``."""

    kind: ClassVar[str] = "postgres"
    host: Host
    port: Port = 5432
    user: Text
    database: Text
    password_from: SecretKey | None = None
    timeout: Seconds = 2.0


class FloodInjection(Paced):
    """Load by Locust, a process of its own in pods of its own."""

    kind: ClassVar[str] = "flood"
    url: Url
    users: Annotated[int, Field(ge=1, le=100_000)]
    workers: Annotated[int, Field(ge=1, le=100)] = 1
    locustfile: Text | None = None


class WireguardInjection(Model):
    """A fault in one node's WireGuard set-up."""

    kind: ClassVar[str] = "wireguard"
    node: ObjectName
    fault: Literal["key-replaced", "key-removed", "key-file-deleted", "device-deleted", "secret-deleted"]
    secret: NamespacedName | None = None
    duration: Seconds


class Controlled(Model):
    """What a control may leave out; ``load`` puts the injection's duration and timeout in."""

    rate: Rate = Field(1.0, json_schema_extra={"default": "1/s"})
    duration: Seconds = Field(0.0, json_schema_extra={"default": "the injection's"})
    max_latency: Seconds | None = None  # wall clock


class HttpControl(Controlled, HttpInjection):
    """The authorised request."""


class DnsControl(Controlled, DnsInjection):
    """The allowed name."""


class TcpControl(Controlled, TcpInjection):
    """The allowed connection."""


class PostgresControl(Controlled, PostgresInjection):
    """The allowed login."""


ProbeInjection: TypeAlias = HttpInjection | DnsInjection | TcpInjection | PostgresInjection
Injection: TypeAlias = ProbeInjection | FloodInjection | WireguardInjection
Control: TypeAlias = HttpControl | DnsControl | TcpControl | PostgresControl


class _OneOf(Model):
    """A mapping with exactly one key, which says what kind of thing its value is."""

    @model_validator(mode="after")
    def _exactly_one(self) -> _OneOf:
        given = [name for name in self._kinds() if getattr(self, name) is not None]
        if len(given) != 1:
            what = "nothing is given" if not given else f"{' and '.join(given)} are given"
            raise problem(f"exactly one of {', '.join(self._kinds())} belongs here; {what}")
        return self

    @classmethod
    def _kinds(cls) -> tuple[str, ...]:
        return tuple(name for name in cls.model_fields if name in _KINDS)

    def _one(self) -> Any:
        return next(value for name in self._kinds() if (value := getattr(self, name)) is not None)


_KINDS = ("http", "dns", "tcp", "postgres", "flood", "wireguard")


class OneInjection(_OneOf):
    """``inject: {http: {...}}``"""

    http: HttpInjection | None = None
    dns: DnsInjection | None = None
    tcp: TcpInjection | None = None
    postgres: PostgresInjection | None = None
    flood: FloodInjection | None = None
    wireguard: WireguardInjection | None = None


class OneControl(_OneOf):
    """``control: {http: {...}}``"""

    http: HttpControl | None = None
    dns: DnsControl | None = None
    tcp: TcpControl | None = None
    postgres: PostgresControl | None = None


# --- what is expected -----------------------------------------------------------------------------------------------


class Denied(Model):
    """How a denial looks to the client, recognised by its maker."""

    status: Status | None = None
    body: str | None = None
    connect: Literal["timeout", "refused"] | None = None
    dns: Literal["refused", "nxdomain"] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Denied:
        given = [name for name in ("status", "connect", "dns") if getattr(self, name) is not None]
        if len(given) != 1:
            raise problem("one denial is one of status, connect, dns; write several as a list")
        if self.body is not None and self.status is None:
            raise problem("body belongs to a status")
        return self


def _listed(value: Any) -> Any:
    """``denied: {status: 403}`` is short for a list of one; ``{}`` for the empty list: any denial."""
    if isinstance(value, dict):
        return [value] if value else []
    return value


Denials: TypeAlias = Annotated[tuple[Denied, ...], Field(strict=False), BeforeValidator(_listed)]


class Under(_OneOf):
    """An injection that runs under a flood's load, with the denial that it must still meet."""

    http: HttpControl | None = None
    dns: DnsControl | None = None
    tcp: TcpControl | None = None
    postgres: PostgresControl | None = None
    denied: Denials = ()

    @property
    def injection(self) -> Control:
        injection: Control = self._one()
        return injection


class AlertExpectation(Model):
    """An alert that must tell of the injection."""

    name: Text
    labels: dict[str, str] = Field(default_factory=dict)
    within: Seconds  # from the first attempt
    resolves_within: Seconds | None = None  # not judged and not waited for where it is left out
    receiver: Text | None = None  # any receiver will do where it is left out


class Expect(Model):
    """What must be seen. ``denied`` is None where no denial is expected, and empty where any proven denial will do."""

    denied: Denials | None = None
    alerts: Many[AlertExpectation] = ()
    quiet: Many[Text] = ()
    during: Many[Under] = ()
    plaintext: Literal["none"] | None = None
    path: Literal["closed", "open"] | None = None


Notify: TypeAlias = Literal["page", "silence"]


class Drill(Model):
    """One injection with what is expected of it. ``notify``: whether its alerts may reach people."""

    name: Name
    inject: OneInjection
    control_spec: OneControl | None = Field(None, alias="control")
    expect: Expect
    notify: Notify = Field("page", json_schema_extra={"default": "the playbook's"})

    @property
    def silenced(self) -> tuple[AlertExpectation, ...]:
        """The expected alerts that are to be proven without waking anybody."""
        return self.expect.alerts if self.notify == "silence" else ()

    @property
    def injection(self) -> Injection:
        injection: Injection = self.inject._one()
        return injection

    @property
    def control(self) -> Control | None:
        control: Control | None = None if self.control_spec is None else self.control_spec._one()
        return control

    @property
    def captures(self) -> bool:
        """Whether captures on all nodes look for plaintext, which takes privileged pods."""
        return self.expect.plaintext is not None


Permission: TypeAlias = Literal["capture", "cluster-wide"]


class Guards(Model):
    """Limits that stop a drill, and what it may do beyond them; rate and duration in playbook time.

    ``allow``: ``capture`` for privileged pods on every node, which are made where a drill itself expects ``plaintext:
    none`` and nowhere else; ``cluster-wide`` for faults that reach further than what the drill names.
    """

    namespaces: Annotated[Many[Name] | None, Field(min_length=1)] = None  # None: those of the sources
    max_requests_per_second: Annotated[float, Field(gt=0)] = 500.0
    max_duration: Seconds = Field(900.0, json_schema_extra={"default": "15m"})
    abort_when: Many[Text] = ()  # PromQL: any result aborts
    allow: Many[Permission] = ("capture",)


class Metadata(Model):
    name: Name


class Spec(Model):
    guards: Guards = Guards()
    notify: Notify = "page"  # of every drill that does not say otherwise
    sources: dict[Text, AnySource] = Field(default_factory=dict)
    drills: Annotated[Many[Drill], Field(min_length=1)]


class Playbook(Model):
    """A file of ``kind: Playbook``."""

    api_version: Literal["drills/v1"]
    kind: Literal["Playbook"]
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def guards(self) -> Guards:
        return self.spec.guards

    @property
    def drills(self) -> tuple[Drill, ...]:
        return self.spec.drills

    def source_of(self, source: From) -> Source | ExistingPod:
        """The source that a ``from`` means. KeyError cannot happen in a playbook that was loaded."""
        return self.spec.sources[source] if isinstance(source, str) else source
