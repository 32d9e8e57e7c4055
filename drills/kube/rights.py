"""The rights that the calls of this package need, so that whoever plans a run can grant them and no others.

A right is what the API server asks its authorizer for each request: verb, resource, namespace, name. Names are known
for what a playbook names; drill pods get theirs when a run begins, and cannot be granted by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from drills.kube.api import Obj, custom
from drills.kube.cilium import AGENTS, GROUP
from drills.kube.cluster import Cluster
from drills.kube.lease import LEASE, NAMESPACE

CORE = ""
RULES = ("monitoring.coreos.com", "prometheusrules")
LOST = "whose creation was not answered"  # ends the reason of a right that is used only then
_REVIEWS = ("authorization.k8s.io", "v1", "selfsubjectaccessreviews")


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource. ``namespace`` None: in all of them; ``name`` None: whatever its name is."""

    group: str
    resource: str  # with its subresource: pods/exec
    verb: str
    namespace: str | None
    name: str | None = None
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        resource, slash, subresource = self.resource.partition("/")
        what = f"{resource}{'.' + self.group if self.group else ''}{slash}{subresource}"
        where = "cluster-wide" if self.namespace is None else f"in {self.namespace}"
        return f"{self.verb} {what}{' ' + self.name if self.name else ''} {where}"

    def covers(self, other: Right) -> bool:
        """Whether this right allows what the other does."""
        return (
            (self.group, self.resource, self.verb) == (other.group, other.resource, other.verb)
            and self.namespace in (None, other.namespace)
            and self.name in (None, other.name)
        )


def least(rights: Iterable[Right]) -> list[Right]:
    """Without what another one of them allows already, in an order that does not change; reasons are joined."""
    reasons: dict[Right, dict[str, None]] = {}
    for one in rights:
        reasons.setdefault(one, {})[one.reason] = None
    kept = [one for one in reasons if not any(other != one and other.covers(one) for other in reasons)]
    told = [
        Right(one.group, one.resource, one.verb, one.namespace, one.name, "; ".join(filter(None, reasons[one])))
        for one in kept
    ]
    return sorted(told, key=_order)


def _order(one: Right) -> tuple[str, str, str, str, str]:
    return (one.namespace or "", one.group, one.resource, one.name or "", one.verb)


def granted(cluster: Cluster, right: Right) -> bool:
    """Whether the API allows it to who asks (SelfSubjectAccessReview). Raises KubeError."""
    resource, _, subresource = right.resource.partition("/")
    asked = {
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "verb": right.verb,
        "namespace": right.namespace or "",
        "name": right.name or "",
    }
    spec = {"resourceAttributes": {key: value for key, value in asked.items() if value}}
    body: Obj = {"apiVersion": "/".join(_REVIEWS[:2]), "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = cluster.call(f"say whether one may {right}", "POST", custom(*_REVIEWS), body=body)
    return bool((answer.get("status") or {}).get("allowed"))


# --- what the calls need ----------------------------------------------------------------------------------------------


def _core(resource: str, verbs: str, namespace: str | None, reason: str, name: str | None = None) -> Iterator[Right]:
    for verb in verbs.split():
        yield Right(CORE, resource, verb, namespace, name, reason)


def _exec(namespace: str, reason: str, name: str | None = None) -> Iterator[Right]:
    """GET, because it is a WebSocket; Kubernetes 1.35 and later ask for ``create`` as well, as for a POST."""
    yield from _core("pods/exec", "get create", namespace, reason, name)


def clock() -> Iterator[Right]:
    """The time-lapse of a lab; a cluster has none, and says so."""
    yield from _core("configmaps", "get", "kube-system", "read whether the clock runs faster", "drills-lab")


def cluster_uid() -> Iterator[Right]:
    """What tells this cluster from another, for the report."""
    yield from _core("namespaces", "get", "kube-system", "name the cluster in the report", "kube-system")


def lease() -> Iterator[Right]:
    """Of the Lease that keeps two runs apart."""
    reason = "keep two runs apart"
    group = LEASE.api_version.partition("/")[0]
    yield Right(group, LEASE.plural, "create", LEASE.namespace, None, reason)
    for verb in ("get", "update", "delete"):
        yield Right(group, LEASE.plural, verb, LEASE.namespace, LEASE.name, reason)


def undo_records() -> Iterator[Right]:
    """Of the Secrets in which every change has its undo."""
    yield from _core("secrets", "create list delete", NAMESPACE, "write down how to undo each change before it is made")
    yield from _core("secrets", "get", NAMESPACE, f"look for a record {LOST}")


def drill_pod(namespace: str) -> Iterator[Right]:
    """Of a pod of its own and of the ConfigMap that owns it: make it, run the probe, remove it, also after a crash."""
    reason = "make drill pods, and remove them"
    yield from _core("pods", "create get delete", namespace, reason)
    yield from _core("configmaps", "create get delete", namespace, reason)
    yield from _exec(namespace, "run the probe in drill pods")


def existing_pod(namespace: str, name: str) -> Iterator[Right]:
    """Of a pod that is there, and acts itself."""
    yield from _core("pods", "get", namespace, "look at the source", name)
    yield from _exec(namespace, "run the probe in the source", name)
    yield endpoint(namespace, name)


def ephemeral_container(namespace: str, name: str) -> Iterator[Right]:
    """Of adding a container to a pod that is there, and running the probe in it. Who may do so runs any image with the
    pod's network and service account.
    """
    reason = "add an ephemeral container to the source, in which the probe runs"
    yield from _core("pods/ephemeralcontainers", "patch", namespace, reason, name)


def twins(namespace: str) -> Iterator[Right]:
    """Of the pods that a drill pod stands for, whose identity it must have."""
    reason = "compare the drill pod's identity with that of the pods that it stands for"
    yield from _core("pods", "list", namespace, reason)
    yield endpoint(namespace, None, reason)


def endpoint(namespace: str, name: str | None, reason: str = "see that a pod has its identity and policy") -> Right:
    """Of a CiliumEndpoint, or of all of a namespace."""
    return Right(GROUP, "ciliumendpoints", "get", namespace, name, reason)


def service(namespace: str, name: str) -> Iterator[Right]:
    """Of a Service and the pods behind it."""
    yield from _core("services", "get", namespace, "find the pods behind the target", name)
    yield from _core("endpoints", "get", namespace, "find the pods behind the target", name)


def target_pods(namespace: str) -> Iterator[Right]:
    """Of the pods behind a target; their names change."""
    yield from _core("pods", "get", namespace, "name the images of the target's pods in the report")


def nodes() -> Iterator[Right]:
    """Of the nodes, for the report, and to spread a flood's pods over them."""
    reason = "name the nodes' kernels in the report, and spread a flood's pods over the nodes"
    yield from _core("nodes", "list", None, reason)


def services(namespace: str) -> Iterator[Right]:
    """Of all Services of a namespace: one that publishes unready pods would send traffic to a drill pod."""
    yield from _core("services", "list", namespace, "see that no Service would send traffic to a drill pod")


def service_proxy(namespace: str, name: str) -> Iterator[Right]:
    """Of questions that the API server passes on to a Service; ``name`` as in its path: ``https:prometheus:9090``."""
    yield from _core("services/proxy", "get", namespace, "ask Prometheus or Alertmanager through the API server", name)


def silences(namespace: str, name: str) -> Iterator[Right]:
    """Of silences laid and ended at an Alertmanager behind the API server: the proxy asks for the method's verb."""
    reason = "lay silences over the drills' own alerts, and end them"
    yield from _core("services/proxy", "create delete", namespace, reason, name)


def secret_value(namespace: str, name: str) -> Iterator[Right]:
    """Of a Secret that a probe logs in with."""
    yield from _core("secrets", "get", namespace, "log in with the password that the playbook names", name)


def policies() -> Iterator[Right]:
    """Of all policies: the report says which were in force, and a run waits until they are."""
    for plural in ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"):
        yield Right(GROUP, plural, "list", None, None, "wait until every policy is in force, and name them all")


def alert_rules() -> Iterator[Right]:
    """Of the rules as their authors wrote them."""
    yield Right(RULES[0], RULES[1], "list", None, None, "put the alerts' rules as written into the report")


def agents() -> Iterator[Right]:
    """Of the Cilium agents, whose Hubble proves who denied. Their pods' names change, so none can be named: who has
    this right may run any command in any pod of the namespace.
    """
    namespace = AGENTS[0]
    yield from _core("pods", "list", namespace, "find the Cilium agents")
    yield from _exec(namespace, "ask the Cilium agents (hubble observe, cilium-dbg)")


def cilium_nodes() -> Iterator[Right]:
    """Of the nodes and their public keys."""
    yield Right(GROUP, "ciliumnodes", "list", None, None, "read every node's addresses and WireGuard key")


def cilium_node_key(node: str) -> Iterator[Right]:
    """Of changing one node's public key, and putting it back."""
    for verb in ("get", "update"):
        yield Right(GROUP, "ciliumnodes", verb, None, node, "change the node's WireGuard key, and put it back")


def agent_restart() -> Iterator[Right]:
    """Of deleting an agent's pod, so that its DaemonSet starts another, which sets up everything."""
    yield from _core("pods", "delete", AGENTS[0], "restart the node's Cilium agent, which repairs its WireGuard")


def secret_deletion(namespace: str, name: str) -> Iterator[Right]:
    """Of deleting a Secret and making it again; what is created cannot be granted by name."""
    yield from _core("secrets", "get delete", namespace, "delete the Secret that holds the keys", name)
    yield from _core("secrets", "create", namespace, "make the Secret again as it was")


def events(namespace: str) -> Iterator[Right]:
    """Of Events, whose names nobody knows before."""
    yield from _core("events", "create", namespace, "tell in Events that a drill begins and how it ended")
    yield from _core("events", "get", namespace, f"look for an Event {LOST}")


def written_config_map(namespace: str, name: str) -> Iterator[Right]:
    """Of a ConfigMap that is made once and written over then."""
    reason = "write the result into a ConfigMap"
    yield from _core("configmaps", "create", namespace, reason)
    yield from _core("configmaps", "update", namespace, reason, name)
    yield from _core("configmaps", "get", namespace, f"look for the result {LOST}", name)


def capture_pods() -> Iterator[Right]:
    """Of a privileged pod on every node that looks for plaintext."""
    reason = "make capture pods on all nodes, and remove them"
    yield from _core("pods", "create get delete", NAMESPACE, reason)
    yield from _core("configmaps", "create get delete", NAMESPACE, reason)
    yield from _exec(NAMESPACE, "run the capture")
