"""Names inside a pod: its host name, /etc/hosts, /etc/resolv.conf."""

from __future__ import annotations

from collections.abc import Callable

from drills.lab import plan
from drills.lab.api.types import Obj, name_of, namespace_of
from drills.lab.runtime.standins import Launch, Request

Launcher = Callable[[Request], Launch]

KUBERNETES = {
    "KUBERNETES_SERVICE_HOST": str(plan.KUBERNETES_SERVICE),
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": f"tcp://{plan.KUBERNETES_SERVICE}:443",
}
DOMAIN = "cluster.local"


def hostname_of(pod: Obj) -> str:
    """spec.hostname, else the pod's name."""
    return str(pod["spec"].get("hostname") or name_of(pod))


def files_of(pod: Obj, address: str) -> dict[str, str]:
    """Texts for /etc: hosts, resolv.conf, and an nsswitch.conf that does not lead around them."""
    return {
        "hosts": hosts(pod, address),
        "resolv.conf": resolv_conf(pod),
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }


def hosts(pod: Obj, address: str) -> str:
    """/etc/hosts as the kubelet writes it."""
    hostname, subdomain = hostname_of(pod), pod["spec"].get("subdomain")
    full = f"{hostname}.{subdomain}.{namespace_of(pod)}.svc.{DOMAIN}\t" if subdomain else ""
    lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", f"{address}\t{full}{hostname}"]
    for alias in pod["spec"].get("hostAliases") or []:
        lines.append("\t".join([alias["ip"], *(alias.get("hostnames") or [])]))
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Obj) -> str:
    """/etc/resolv.conf by dnsPolicy and dnsConfig."""
    namespace = namespace_of(pod)
    policy, config = pod["spec"].get("dnsPolicy") or "ClusterFirst", pod["spec"].get("dnsConfig") or {}
    servers, searches, options = [str(plan.DNS_SERVICE)], [], {}
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        searches = [f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN]
        options = {"ndots": "5"}
    elif policy == "None":
        servers = []
    servers += config.get("nameservers") or []
    searches += config.get("searches") or []
    options |= {option["name"]: str(option.get("value") or "") for option in config.get("options") or []}
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in dict.fromkeys(servers)]
    if options:
        lines.append("options " + " ".join(f"{name}:{value}" if value else name for name, value in options.items()))
    return "\n".join(lines) + "\n"
