"""The kinds that the lab serves. Discovery, the Store's keys and the URL paths all come from this table.

A kind that is missing here is unknown to the lab: kubectl says so, and ``--manifests`` reports and
skips it. NetworkPolicy is left out on purpose: the lab would accept it and not enforce it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind: where it lives in the API and what kubectl calls it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short: tuple[str, ...] = ()
    has_status: bool = False
    has_scale: bool = False
    in_all: bool = False  # listed by `kubectl get all`
    custom: bool = False  # a CRD in a real cluster: merge patch only, structural pruning

    @property
    def api_version(self) -> str:
        """The object's apiVersion: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """The singular name that kubectl accepts and prints."""
        return self.kind.lower()

    @property
    def qualified(self) -> str:
        """The name in error texts: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind in texts about invalid objects: ``Pod``, ``Deployment.apps``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


PODS = Resource("", "v1", "pods", "Pod", True, ("po",), has_status=True, in_all=True)
SERVICES = Resource("", "v1", "services", "Service", True, ("svc",), has_status=True, in_all=True)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", False, ("ns",), has_status=True)
NODES = Resource("", "v1", "nodes", "Node", False, ("no",), has_status=True)
SECRETS = Resource("", "v1", "secrets", "Secret", True)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",))
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",))
EVENTS = Resource("", "v1", "events", "Event", True, ("ev",))
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints", True, ("ep",))
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True)
DEPLOYMENTS = Resource(
    "apps", "v1", "deployments", "Deployment", True, ("deploy",), has_status=True, has_scale=True, in_all=True
)
REPLICASETS = Resource(
    "apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), has_status=True, has_scale=True, in_all=True
)
STATEFULSETS = Resource(
    "apps", "v1", "statefulsets", "StatefulSet", True, ("sts",), has_status=True, has_scale=True, in_all=True
)
DAEMONSETS = Resource("apps", "v1", "daemonsets", "DaemonSet", True, ("ds",), has_status=True, in_all=True)
JOBS = Resource("batch", "v1", "jobs", "Job", True, has_status=True, in_all=True)
CRONJOBS = Resource("batch", "v1", "cronjobs", "CronJob", True, ("cj",), has_status=True, in_all=True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", True)

_RBAC = "rbac.authorization.k8s.io"
ROLES = Resource(_RBAC, "v1", "roles", "Role", True)
ROLEBINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding", True)
CLUSTERROLES = Resource(_RBAC, "v1", "clusterroles", "ClusterRole", False)
CLUSTERROLEBINDINGS = Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False)

# Short names as in Cilium 1.20, pkg/k8s/apis/cilium.io/client/crds/v2.
_CILIUM = "cilium.io"
CNP = Resource(
    _CILIUM, "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy", True, ("cnp", "ciliumnp"), True, custom=True
)
CCNP = Resource(
    _CILIUM, "v2", "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", False, ("ccnp",), True,
    custom=True,
)  # fmt: skip
CILIUM_NODES = Resource(_CILIUM, "v2", "ciliumnodes", "CiliumNode", False, ("cn", "ciliumn"), True, custom=True)
CILIUM_ENDPOINTS = Resource(
    _CILIUM, "v2", "ciliumendpoints", "CiliumEndpoint", True, ("cep", "ciliumep"), True, custom=True
)
CILIUM_IDENTITIES = Resource(_CILIUM, "v2", "ciliumidentities", "CiliumIdentity", False, ("ciliumid",), custom=True)
PROMETHEUS_RULES = Resource(
    "monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule", True, ("promrule",), True, custom=True
)

ALL: tuple[Resource, ...] = (
    NAMESPACES, NODES, PODS, SERVICES, SECRETS, CONFIGMAPS, SERVICEACCOUNTS, EVENTS, ENDPOINTS, ENDPOINTSLICES,
    DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS, JOBS, CRONJOBS, LEASES,
    ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS,
    CNP, CCNP, CILIUM_NODES, CILIUM_ENDPOINTS, CILIUM_IDENTITIES, PROMETHEUS_RULES,
)  # fmt: skip

_BY_KIND = {(r.api_version, r.kind): r for r in ALL}
_BY_PATH = {(r.group, r.version, r.plural): r for r in ALL}


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The resource that an object's apiVersion and kind name; None if the lab does not serve it."""
    return _BY_KIND.get((api_version, kind))


def by_path(group: str, version: str, plural: str) -> Resource | None:
    """The resource at a place in the API's URL space; None if the lab does not serve it."""
    return _BY_PATH.get((group, version, plural))


def groups() -> dict[str, list[str]]:
    """API groups (the core group is the empty name) and their versions, in the order of the table."""
    found: dict[str, list[str]] = {}
    for resource in ALL:
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    return found
