"""What ``kubectl get`` shows of each kind (pkg/printers/internalversion/printers.go; CRDs' printer columns)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from drills.lab.api import resources as kinds
from drills.lab.api.pod_columns import pod_reason, ready_count, restarts
from drills.lab.api.resources import Resource
from drills.lab.api.selectors import as_text
from drills.lab.api.types import Obj, labels_of

NONE, UNKNOWN = "<none>", "<unknown>"
Now = datetime
Cell = Callable[[Obj, Now], Any]


class Column(NamedTuple):
    """One column; those of ``wide`` are shown by ``-o wide`` only."""

    name: str
    cell: Cell
    type: str = "string"
    wide: bool = False


def human(seconds: float) -> str:
    """A duration as kubectl writes ages (k8s.io/apimachinery/pkg/util/duration HumanDuration)."""
    whole = int(seconds)
    if whole < 0:
        return "0s" if whole >= -1 else "<invalid>"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    for limit, text in (
        (120, f"{whole}s"),
        (600, _pair(minutes, "m", whole % 60, "s")),
        (3 * 3600, f"{minutes}m"),
        (8 * 3600, _pair(hours, "h", minutes % 60, "m")),
        (48 * 3600, f"{hours}h"),
        (8 * 86400, _pair(days, "d", hours % 24, "h")),
    ):
        if whole < limit:
            return text
    return f"{days}d"


def _pair(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def _seconds_since(stamp: Any, now: Now) -> float | None:
    try:
        return (now - datetime.fromisoformat(str(stamp))).total_seconds() if stamp else None
    except (ValueError, TypeError):
        return None


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj


def _age(path: str = "metadata.creationTimestamp") -> Cell:
    def cell(obj: Obj, now: Now) -> str:
        seconds = _seconds_since(at(obj, path), now)
        return UNKNOWN if seconds is None else human(seconds)

    return cell


def _value(path: str, default: Any = NONE) -> Cell:
    def cell(obj: Obj, _: Now) -> Any:
        found = at(obj, path)
        return default if found in (None, "") else found

    return cell


def _of(function: Callable[[Obj], Any]) -> Cell:
    return lambda obj, _: function(obj)


def _count(*paths: str) -> Cell:
    return lambda obj, _: sum(len(at(obj, path) or ()) for path in paths)


def _listed(values: Iterable[Any], limit: int | None = None) -> str:
    texts = [str(value) for value in values]
    if limit is not None and len(texts) > limit:
        return f"{','.join(texts[:limit])} + {len(texts) - limit} more..."
    return ",".join(texts) or NONE


def _slashed(ready: str, wanted: str) -> Cell:
    return lambda obj, _: f"{at(obj, ready) or 0}/{at(obj, wanted) or 0}"


AGE = Column("Age", _age())


def _containers(template: str = "spec.template.spec.containers") -> tuple[Column, Column]:
    def listed(field: str) -> Cell:
        return lambda obj, _: _listed(container.get(field, "") for container in at(obj, template) or ())

    return Column("Containers", listed("name"), wide=True), Column("Images", listed("image"), wide=True)


_SELECTOR = Column("Selector", _of(lambda obj: as_text(at(obj, "spec.selector")) or NONE), wide=True)


def _service_ports(obj: Obj) -> str:
    ports = at(obj, "spec.ports") or ()
    return _listed(f"{p['port']}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p['protocol']}" for p in ports)


def _external_address(obj: Obj) -> str:
    if at(obj, "spec.type") == "ExternalName":
        return str(at(obj, "spec.externalName"))
    return _listed(at(obj, "spec.externalIPs") or ())


def _service_selector(obj: Obj) -> str:
    return _listed(f"{key}={value}" for key, value in sorted((at(obj, "spec.selector") or {}).items()))


def _endpoint_addresses(obj: Obj) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return _listed(found, 3)


def _slice_addresses(obj: Obj) -> str:
    return _listed((a for entry in obj.get("endpoints") or () for a in entry.get("addresses") or ()), 3)


def _node_status(obj: Obj) -> str:
    ready = next((c for c in at(obj, "status.conditions") or () if c.get("type") == "Ready"), None)
    text = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{text},SchedulingDisabled" if at(obj, "spec.unschedulable") else text


def _node_roles(obj: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    return _listed(key.removeprefix(prefix) for key in sorted(labels_of(obj)) if key.startswith(prefix))


def _node_address(kind: str) -> Cell:
    def cell(obj: Obj, _: Now) -> str:
        return next((a["address"] for a in at(obj, "status.addresses") or () if a.get("type") == kind), NONE)

    return cell


def _condition(kind: str) -> Cell:
    def cell(obj: Obj, _: Now) -> Any:
        return next((c.get("status") for c in at(obj, "status.conditions") or () if c.get("type") == kind), "")

    return cell


def _job_status(obj: Obj) -> str:
    held = {c.get("type") for c in at(obj, "status.conditions") or () if c.get("status") == "True"}
    for condition, text in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if condition in held:
            return text
    return "Running"


def _job_completions(obj: Obj) -> str:
    wanted = at(obj, "spec.completions")
    return f"{at(obj, 'status.succeeded') or 0}/{1 if wanted is None else wanted}"


def _job_duration(obj: Obj, now: Now) -> str:
    started = _seconds_since(at(obj, "status.startTime"), now)
    ended = _seconds_since(at(obj, "status.completionTime"), now) or 0
    return "" if started is None else human(started - ended)


def _event_object(obj: Obj) -> str:
    return f"{str(at(obj, 'involvedObject.kind')).lower()}/{at(obj, 'involvedObject.name')}"


def _event_last_seen(obj: Obj, now: Now) -> str:
    stamp = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("firstTimestamp")
    seconds = _seconds_since(stamp, now)
    return UNKNOWN if seconds is None else human(seconds)


def _endpoint_ip(obj: Obj) -> str:
    addressing = at(obj, "status.networking.addressing") or [{}]
    return str(addressing[0].get("ipv4", ""))


def _cilium_address(kind: str) -> Cell:
    def cell(obj: Obj, _: Now) -> str:
        return next((a.get("ip", "") for a in at(obj, "spec.addresses") or () if a.get("type") == kind), "")

    return cell


def _gates(pod: Obj) -> str:
    gates = [gate.get("conditionType") for gate in at(pod, "spec.readinessGates") or ()]
    held = {c.get("type") for c in at(pod, "status.conditions") or () if c.get("status") == "True"}
    return f"{sum(gate in held for gate in gates)}/{len(gates)}" if gates else NONE


def _identity_namespace(obj: Obj) -> str:
    return str((obj.get("security-labels") or {}).get("k8s:io.kubernetes.pod.namespace", ""))


_WORKLOAD_WIDE = (*_containers(), _SELECTOR)
_CREATED = Column("Created At", _value("metadata.creationTimestamp"))
_ROLE = Column("Role", _of(lambda obj: f"{at(obj, 'roleRef.kind')}/{at(obj, 'roleRef.name')}"))


def _number(name: str, path: str) -> Column:
    return Column(name, _value(path, 0), "integer")


COLUMNS: dict[Resource, tuple[Column, ...]] = {
    kinds.PODS: (
        Column("Ready", _of(ready_count)), Column("Status", _of(pod_reason)), Column("Restarts", restarts), AGE,
        Column("IP", _value("status.podIP"), wide=True), Column("Node", _value("spec.nodeName"), wide=True),
        Column("Nominated Node", _value("status.nominatedNodeName"), wide=True),
        Column("Readiness Gates", _of(_gates), wide=True),
    ),
    kinds.SERVICES: (
        Column("Type", _value("spec.type")), Column("Cluster-IP", _value("spec.clusterIP")),
        Column("External-IP", _of(_external_address)), Column("Port(s)", _of(_service_ports)), AGE,
        Column("Selector", _of(_service_selector), wide=True),
    ),
    kinds.NAMESPACES: (Column("Status", _value("status.phase")), AGE),
    kinds.NODES: (
        Column("Status", _of(_node_status)), Column("Roles", _of(_node_roles)), AGE,
        Column("Version", _value("status.nodeInfo.kubeletVersion")),
        Column("Internal-IP", _node_address("InternalIP"), wide=True),
        Column("External-IP", _node_address("ExternalIP"), wide=True),
        Column("OS-Image", _value("status.nodeInfo.osImage", UNKNOWN), wide=True),
        Column("Kernel-Version", _value("status.nodeInfo.kernelVersion", UNKNOWN), wide=True),
        Column("Container-Runtime", _value("status.nodeInfo.containerRuntimeVersion", UNKNOWN), wide=True),
    ),
    kinds.SECRETS: (Column("Type", _value("type")), Column("Data", _count("data"), "integer"), AGE),
    kinds.CONFIGMAPS: (Column("Data", _count("data", "binaryData"), "integer"), AGE),
    kinds.SERVICEACCOUNTS: (Column("Secrets", _count("secrets"), "integer"), AGE),
    kinds.EVENTS: (
        Column("Last Seen", _event_last_seen), Column("Type", _value("type", "")),
        Column("Reason", _value("reason", "")), Column("Object", _of(_event_object)),
        Column("Source", _value("source.component", ""), wide=True),
        Column("Message", _of(lambda event: str(event.get("message") or "").strip())),
        Column("Count", _value("count", 1), "integer", wide=True),
    ),
    kinds.ENDPOINTS: (Column("Endpoints", _of(_endpoint_addresses)), AGE),
    kinds.ENDPOINTSLICES: (
        Column("AddressType", _value("addressType")),
        Column("Ports", _of(lambda obj: _listed((port.get("port") for port in obj.get("ports") or ()), 3))),
        Column("Endpoints", _of(_slice_addresses)), AGE,
    ),
    kinds.DEPLOYMENTS: (
        Column("Ready", _slashed("status.readyReplicas", "spec.replicas")),
        _number("Up-to-date", "status.updatedReplicas"), _number("Available", "status.availableReplicas"), AGE,
        *_WORKLOAD_WIDE,
    ),
    kinds.REPLICASETS: (
        _number("Desired", "spec.replicas"), _number("Current", "status.replicas"),
        _number("Ready", "status.readyReplicas"), AGE, *_WORKLOAD_WIDE,
    ),
    kinds.STATEFULSETS: (Column("Ready", _slashed("status.readyReplicas", "spec.replicas")), AGE, *_containers()),
    kinds.DAEMONSETS: (
        _number("Desired", "status.desiredNumberScheduled"), _number("Current", "status.currentNumberScheduled"),
        _number("Ready", "status.numberReady"), _number("Up-to-date", "status.updatedNumberScheduled"),
        _number("Available", "status.numberAvailable"),
        Column("Node Selector", _of(lambda obj: as_text({"matchLabels": at(obj, "spec.template.spec.nodeSelector")})
                                    or NONE)), AGE, *_WORKLOAD_WIDE,
    ),
    kinds.JOBS: (
        Column("Status", _of(_job_status)), Column("Completions", _of(_job_completions)),
        Column("Duration", _job_duration), AGE, *_WORKLOAD_WIDE,
    ),
    kinds.CRONJOBS: (
        Column("Schedule", _value("spec.schedule")), Column("Timezone", _value("spec.timeZone")),
        Column("Suspend", _of(lambda obj: str(bool(at(obj, "spec.suspend"))))),
        Column("Active", _count("status.active"), "integer"),
        Column("Last Schedule", lambda obj, now: _age("status.lastScheduleTime")(obj, now).replace(UNKNOWN, NONE)), AGE,
        *_containers("spec.jobTemplate.spec.template.spec.containers"),
    ),
    kinds.LEASES: (Column("Holder", _value("spec.holderIdentity", "")), AGE),
    kinds.ROLES: (_CREATED,),
    kinds.CLUSTERROLES: (_CREATED,),
    kinds.ROLEBINDINGS: (_ROLE, AGE),
    kinds.CLUSTERROLEBINDINGS: (_ROLE, AGE),
    kinds.CNP: (AGE, Column("Valid", _condition("Valid"))),
    kinds.CCNP: (Column("Valid", _condition("Valid")),),
    kinds.CILIUM_NODES: (
        Column("CiliumInternalIP", _cilium_address("CiliumInternalIP")),
        Column("InternalIP", _cilium_address("InternalIP")), AGE,
    ),
    kinds.CILIUM_ENDPOINTS: (
        Column("Security Identity", _value("status.identity.id", ""), "integer"),
        Column("Ingress Enforcement", _value("status.policy.ingress.state", ""), wide=True),
        Column("Egress Enforcement", _value("status.policy.egress.state", ""), wide=True),
        Column("Endpoint State", _value("status.state", "")), Column("IPv4", _of(_endpoint_ip)),
        Column("IPv6", _of(lambda _: "")),
    ),
    kinds.CILIUM_IDENTITIES: (
        Column("Namespace", _of(_identity_namespace)), AGE,
    ),
    kinds.PROMETHEUS_RULES: (AGE,),
}  # fmt: skip


def now() -> Now:
    """The moment that ages are counted to."""
    return datetime.now(UTC)
