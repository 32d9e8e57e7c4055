"""Parts of a rule: selectors, addresses, names, ports, requests and lookups, as types.

See :mod:`drills.cilium.model`, which makes rules and policies of them. Where Cilium writes a regular expression that
backtracks badly, an equivalent that does not stands here.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from drills.cilium.structural import INT_OR_STRING, constraints

FQDN_NAME = r"^[-a-zA-Z0-9_]+([.][-a-zA-Z0-9_]+)*[.]?$"
FQDN_PATTERN = r"^[-a-zA-Z0-9_*]+([.][-a-zA-Z0-9_*]+)*[.]?$"
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
PORT = r"^[0-9]|[a-zA-Z](-?[a-zA-Z0-9])*$"  # what the published pattern, whose first half has no end, comes to
OBJECT_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

Cidr: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "cidr"})]
Entity: TypeAlias = Literal[
    "all", "world", "cluster", "cluster-mesh", "host", "init", "ingress", "unmanaged",
    "remote-node", "health", "none", "kube-apiserver",
]  # fmt: skip
Protocol: TypeAlias = Literal["TCP", "UDP", "SCTP", "VRRP", "IGMP", "ANY"]
ServerName: TypeAlias = Annotated[str, Field(max_length=255, pattern=FQDN_PATTERN)]


class Model(BaseModel):
    """Read what is known, ignore the rest: unknown fields are the API's business, not the agent's."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


class LabelSelectorRequirement(Model):
    """A condition on one label."""

    key: str
    """Label key that the selector applies to."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """Relationship of the key to the values."""
    values: list[str] | None = None
    """Non-empty for In and NotIn, empty for Exists and DoesNotExist."""


class LabelSelector(Model):
    """Selects by labels; all conditions must hold. Keys may carry a source: k8s:app, any:app, reserved:host."""

    match_labels: dict[str, Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]] | None = None
    """Labels that must be there with these values."""
    match_expressions: list[LabelSelectorRequirement] | None = None
    """Conditions on labels."""


class CidrRule(Model):
    """A block of addresses, less exceptions."""

    model_config = constraints(one_of=("cidr", "cidrGroupRef", "cidrGroupSelector"))

    cidr: Cidr | None = None
    """The block."""
    cidr_group_ref: Annotated[str, Field(max_length=253, pattern=OBJECT_NAME)] | None = None
    """Name of a CiliumCIDRGroup."""
    cidr_group_selector: LabelSelector | None = None
    """Selects CiliumCIDRGroups by their labels."""
    except_: list[Cidr] | None = Field(default=None, alias="except")
    """Blocks inside of it that are not meant."""


class FqdnSelector(Model):
    """A DNS name, or a pattern of names."""

    model_config = constraints(one_of=("matchName", "matchPattern"))

    match_name: Annotated[str, Field(max_length=255, pattern=FQDN_NAME)] | None = None
    """A literal name; a final dot is added where it is missing."""
    match_pattern: Annotated[str, Field(max_length=255, pattern=FQDN_PATTERN)] | None = None
    """A pattern: "*" stands for characters of one level, a leading "**." for one or more levels."""


class PortRuleDns(FqdnSelector):
    """A name that may be looked up, or a pattern of names."""


class Secret(Model):
    """A reference to a Secret."""

    name: str
    """Name of the Secret."""
    namespace: str | None = None
    """Namespace of the Secret."""


class HeaderMatch(Model):
    """A header that must be there, with a value if one is given."""

    name: Annotated[str, Field(min_length=1)]
    """Name of the header."""
    value: str | None = None
    """Exact value of the header."""
    secret: Secret | None = None
    """A Secret that holds the value."""
    mismatch: Literal["LOG", "ADD", "DELETE", "REPLACE"] | None = None
    """What to do on a mismatch instead of denying the request."""


class PortRuleHttp(Model):
    """Conditions on a request, all of which must hold. Without any, every request matches."""

    path: str | None = None
    """Regular expression for the whole path, query string included."""
    method: str | None = None
    """Regular expression for the whole method."""
    host: Annotated[str, Field(json_schema_extra={"format": "idn-hostname"})] | None = None
    """Regular expression for the whole Host header."""
    headers: list[str] | None = None
    """Headers that must be there: "Name", or "Name: value" with the exact value."""
    header_matches: list[HeaderMatch] | None = None
    """Headers that must be there, with a choice of what a mismatch means."""


class L7Rules(Model):
    """Rules of one application protocol. They allow; what they do not allow is denied."""

    model_config = constraints(one_of=("http", "dns"))

    http: list[PortRuleHttp] | None = None
    """HTTP requests that are allowed."""
    dns: list[PortRuleDns] | None = None
    """DNS lookups that are allowed."""


class PortProtocol(Model):
    """A port, or a range of ports."""

    port: Annotated[str, Field(pattern=PORT)] | None = None
    """Port number, or the name of a container's port. 0 means every port."""
    end_port: Annotated[int, Field(ge=0, le=65535, json_schema_extra={"format": "int32"})] | None = None
    """Last port of a range."""
    protocol: Protocol | None = None
    """Protocol. ANY, or none, means TCP, UDP and SCTP."""


class TlsContext(Model):
    """TLS material for the proxy."""

    secret: Secret
    """The Secret that holds the certificates and the private key."""
    trusted_ca: str | None = Field(default=None, alias="trustedCA")
    """Item of the trusted CA; ca.crt by default."""
    certificate: str | None = None
    """Item of the certificate chain; tls.crt by default."""
    private_key: str | None = None
    """Item of the private key; tls.key by default."""


class EnvoyConfig(Model):
    """A reference to the resource that defines a listener."""

    name: Annotated[str, Field(min_length=1)]
    """Name of the resource."""
    kind: Literal["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"] | None = None
    """Kind of the resource."""


class Listener(Model):
    """A custom Envoy listener to which the traffic is redirected."""

    envoy_config: EnvoyConfig
    """The resource that defines the listener."""
    name: Annotated[str, Field(min_length=1)]
    """Name of the listener."""
    priority: Annotated[int, Field(ge=1, le=100)] | None = None
    """Priority among listeners for the same traffic."""


class PortRule(Model):
    """Ports, and what of their traffic is allowed."""

    ports: Annotated[list[PortProtocol], Field(max_length=40)] | None = None
    """Ports of the destination, as the pod sees them (after Service translation)."""
    terminating_tls: TlsContext | None = Field(default=None, alias="terminatingTLS")
    """TLS context for connections that the proxy terminates."""
    originating_tls: TlsContext | None = Field(default=None, alias="originatingTLS")
    """TLS context for connections that the proxy originates."""
    server_names: Annotated[list[ServerName], Field(min_length=1)] | None = None
    """TLS server names that are allowed."""
    listener: Listener | None = None
    """A custom Envoy listener."""
    rules: L7Rules | None = None
    """Rules of an application protocol; without them the port is open."""


class PortDenyRule(Model):
    """Ports that are denied. There are no application rules here: what is denied is denied whole."""

    ports: list[PortProtocol] | None = None
    """Ports of the destination."""


class IcmpField(Model):
    """A type of ICMP message."""

    family: Literal["IPv4", "IPv6"] = "IPv4"
    """Address family."""
    type: Annotated[int | str, Field(json_schema_extra={INT_OR_STRING: True})]
    """Number (0 to 255) or name, for example EchoRequest."""


class IcmpRule(Model):
    """Types of ICMP messages."""

    fields_: Annotated[list[IcmpField], Field(max_length=40)] | None = Field(default=None, alias="fields")
    """The types."""


class AwsGroup(Model):
    """Addresses of AWS instances."""

    labels: dict[str, str] | None = None
    security_groups_ids: list[str] | None = None
    security_groups_names: list[str] | None = None
    region: str | None = None


class Groups(Model):
    """Addresses from an integration."""

    aws: AwsGroup | None = None
    """Addresses of AWS instances."""


class K8sService(Model):
    """A Service by its name."""

    service_name: str | None = None
    """Name of the Service."""
    namespace: str | None = None
    """Its namespace; that of the policy by default."""


class K8sServiceSelector(Model):
    """Services by their labels."""

    selector: LabelSelector
    """Selects Services by labels."""
    namespace: str | None = None
    """Their namespace; every one by default."""


class Service(Model):
    """A Service, or several: its pods or its external addresses are meant."""

    k8s_service: K8sService | None = Field(default=None, alias="k8sService")
    """A Service by its name."""
    k8s_service_selector: K8sServiceSelector | None = Field(default=None, alias="k8sServiceSelector")
    """Services by their labels."""


class Authentication(Model):
    """Mutual authentication."""

    mode: Literal["disabled", "required", "test-always-fail"]
    """Whether it is required."""
