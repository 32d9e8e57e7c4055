"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as types: the one description of what the API accepts.

The API's structural schema (:mod:`drills.cilium.policy`) is derived from these models, so a field that is missing here
is unknown to the lab as it is to a cluster. Facts: Cilium 1.20 ``pkg/policy/api/*.go`` with their validation markers
and the CustomResourceDefinition made of them. Attribute docstrings become the descriptions of ``kubectl explain``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from drills.cilium.parts import (
    Authentication,
    Cidr,
    CidrRule,
    Entity,
    FqdnSelector,
    Groups,
    IcmpRule,
    LabelSelector,
    Model,
    PortDenyRule,
    PortRule,
    Service,
)
from drills.cilium.structural import constraints

__all__ = [
    "Authentication",
    "Cidr",
    "CidrRule",
    "Condition",
    "DefaultDeny",
    "EgressCommon",
    "EgressDenyRule",
    "EgressRule",
    "Entity",
    "FqdnSelector",
    "Groups",
    "IcmpRule",
    "IngressCommon",
    "IngressDenyRule",
    "IngressRule",
    "LabelSelector",
    "LogConfig",
    "Metadata",
    "NetworkPolicy",
    "NodeStatus",
    "Obj",
    "PortDenyRule",
    "PortRule",
    "Rule",
    "RuleLabel",
    "Service",
    "Status",
]

Nobody: TypeAlias = Annotated[list[str], Field(max_length=0)]


class IngressCommon(Model):
    """Peers that traffic comes from. One kind of peer in an element."""

    from_endpoints: list[LabelSelector] | None = None
    """Pods by labels: of the policy's namespace, unless the selector names another. An empty list means nobody."""
    from_requires: Nobody | None = None
    """Gone; must be empty."""
    from_cidr: list[Cidr] | None = Field(default=None, alias="fromCIDR")
    """Blocks of addresses outside of the cluster."""
    from_cidr_set: list[CidrRule] | None = Field(default=None, alias="fromCIDRSet")
    """Blocks of addresses outside of the cluster, with exceptions."""
    from_entities: list[Entity] | None = None
    """Classes of peers."""
    from_groups: list[Groups] | None = None
    """Addresses from an integration."""
    from_nodes: list[LabelSelector] | None = None
    """Nodes by labels."""


class EgressCommon(Model):
    """Peers that traffic goes to. One kind of peer in an element."""

    to_endpoints: list[LabelSelector] | None = None
    """Pods by labels: of the policy's namespace, unless the selector names another. An empty list means nobody."""
    to_requires: Nobody | None = None
    """Gone; must be empty."""
    to_cidr: list[Cidr] | None = Field(default=None, alias="toCIDR")
    """Blocks of addresses outside of the cluster."""
    to_cidr_set: list[CidrRule] | None = Field(default=None, alias="toCIDRSet")
    """Blocks of addresses outside of the cluster, with exceptions."""
    to_entities: list[Entity] | None = None
    """Classes of peers."""
    to_services: list[Service] | None = None
    """Services."""
    to_groups: list[Groups] | None = None
    """Addresses from an integration."""
    to_nodes: list[LabelSelector] | None = None
    """Nodes by labels."""


class IngressRule(IngressCommon):
    """Traffic that is allowed in."""

    to_ports: list[PortRule] | None = None
    """Ports that it may reach. Without a peer beside them: from anybody, the world included."""
    icmps: list[IcmpRule] | None = None
    """ICMP messages."""
    authentication: Authentication | None = None
    """Mutual authentication."""


class IngressDenyRule(IngressCommon):
    """Traffic that is denied, whatever else allows it."""

    to_ports: list[PortDenyRule] | None = None
    """Ports."""
    icmps: list[IcmpRule] | None = None
    """ICMP messages."""


class EgressRule(EgressCommon):
    """Traffic that is allowed out."""

    to_ports: list[PortRule] | None = None
    """Ports that it may reach. Without a peer beside them: of anybody, the world included."""
    to_fqdns: list[FqdnSelector] | None = Field(default=None, alias="toFQDNs")
    """DNS names. Nothing matches before the DNS proxy has seen an answer: a DNS rule for the resolver is needed."""
    icmps: list[IcmpRule] | None = None
    """ICMP messages."""
    authentication: Authentication | None = None
    """Mutual authentication."""


class EgressDenyRule(EgressCommon):
    """Traffic that is denied, whatever else allows it."""

    to_ports: list[PortDenyRule] | None = None
    """Ports."""
    icmps: list[IcmpRule] | None = None
    """ICMP messages."""


class DefaultDeny(Model):
    """Whether the rule puts its endpoints into default deny; by default in the directions that it has rules for."""

    ingress: bool | None = None
    """Default deny for ingress."""
    egress: bool | None = None
    """Default deny for egress."""


class LogConfig(Model):
    """What flows say of the rule."""

    value: Annotated[str, Field(max_length=32, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] | None = None
    """A text for the flows that the rule decided."""


class RuleLabel(Model):
    """A label of the rule itself."""

    key: str
    value: str | None = None
    source: str | None = None


class Rule(Model):
    """What is allowed and denied for the endpoints (or nodes) that the rule selects."""

    model_config = constraints(
        one_of=("endpointSelector", "nodeSelector"), any_of=("ingress", "ingressDeny", "egress", "egressDeny")
    )

    endpoint_selector: LabelSelector | None = None
    """Whom the rule applies to, in the policy's own namespace; an empty selector means every pod of it."""
    node_selector: LabelSelector | None = None
    """Which nodes the rule applies to (clusterwide policies only)."""
    ingress: list[IngressRule] | None = None
    """Traffic that is allowed in. One element or more brings default deny; an empty list is refused by Cilium."""
    ingress_deny: list[IngressDenyRule] | None = None
    """Traffic that is denied in."""
    egress: list[EgressRule] | None = None
    """Traffic that is allowed out."""
    egress_deny: list[EgressDenyRule] | None = None
    """Traffic that is denied out."""
    labels: list[RuleLabel] | None = None
    """Labels of the rule itself."""
    enable_default_deny: DefaultDeny | None = None
    """Whether the rule brings default deny."""
    description: str | None = None
    """Free text."""
    log: LogConfig | None = None
    """What flows say of the rule."""


class NodeStatus(Model):
    """What one node made of the policy."""

    ok: bool | None = None
    error: str | None = None
    last_updated: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    local_policy_revision: int | None = None
    enforcing: bool | None = None
    annotations: dict[str, str] | None = None


class Condition(Model):
    """One condition of the policy; the type Valid says whether Cilium accepts it."""

    type: str
    status: str
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    reason: str | None = None
    message: str | None = None


class Status(Model):
    """What Cilium made of the policy."""

    conditions: list[Condition] | None = None
    """Valid: whether Cilium accepts the policy."""
    derivative_policies: dict[str, NodeStatus] | None = None
    """Policies made of this one."""
    nodes: dict[str, NodeStatus] | None = None
    """What each node made of it (up to Cilium 1.15; the lab's agents write it still)."""


class Metadata(Model):
    """What the agent reads of the object's metadata."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""


class NetworkPolicy(Model):
    """A CiliumNetworkPolicy, or a CiliumClusterwideNetworkPolicy (which has no namespace)."""

    api_version: str = "cilium.io/v2"
    kind: Literal["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"] = "CiliumNetworkPolicy"
    metadata: Metadata = Metadata()
    spec: Rule | None = None
    """What the policy says."""
    specs: list[Rule] | None = None
    """What the policy says, as several rules."""
    status: Status | None = None
    """What Cilium made of it."""

    @property
    def namespace(self) -> str | None:
        """The namespace that it lives in; None for a clusterwide policy."""
        if self.kind == "CiliumClusterwideNetworkPolicy":
            return None
        return self.metadata.namespace or "default"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """``spec`` and ``specs`` in order."""
        return (*([self.spec] if self.spec else []), *(self.specs or []))


Obj: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""
