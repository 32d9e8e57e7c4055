"""Drills for the tests of the schedule, as a playbook has them."""

from __future__ import annotations

from pathlib import Path

from drills.playbook import Drill, Playbook, parse

HEAD = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: side-by-side}
spec:
  guards: {namespaces: [frontend, backend, database], maxRequestsPerSecond: RATE, maxDuration: 15m}
  sources:
    frontend: {namespace: frontend, labels: {app: frontend}}
    backend: {namespace: backend, labels: {app: backend}}
  drills:
"""
HTTP = '{http: {from: frontend, url: "http://HOST/admin", rate: 5/s, duration: 90s}}'
HTTP_CONTROL = '{http: {from: frontend, url: "http://HOST/", status: 200}}'
DNS = "{dns: {from: backend, name: HOST, rate: 2/s, duration: 90s}}"
DNS_CONTROL = "{dns: {from: backend, name: api.github.com}}"
TCP = "{tcp: {from: frontend, host: HOST, port: 5432, rate: 2/s, duration: 90s}}"
TCP_CONTROL = "{tcp: {from: backend, host: HOST, port: 5432}}"
FLOOD = '{flood: {from: frontend, url: "http://HOST/", users: 5, rate: 100/s, duration: 3m}}'
WIREGUARD = "{wireguard: {node: HOST, fault: key-replaced, duration: 4m}}"
RESTART = "{wireguard: {node: HOST, fault: device-deleted, duration: 4m}}"
DENIED = {"http": "{status: 403}", "dns": "{dns: refused}", "tcp": "{connect: timeout}"}
KINDS = {
    "http": (HTTP, HTTP_CONTROL, f"denied: {DENIED['http']}"),
    "http-dropped": (HTTP, HTTP_CONTROL, "denied: {connect: timeout}"),
    "http-any": (HTTP, HTTP_CONTROL, "denied: {}"),
    "dns": (DNS, DNS_CONTROL, f"denied: {DENIED['dns']}"),
    "dns-dropped": (DNS, DNS_CONTROL, "denied: {connect: timeout}"),
    "tcp": (TCP, TCP_CONTROL, f"denied: {DENIED['tcp']}"),
    "flood": (FLOOD, HTTP_CONTROL, ""),
    "wireguard": (WIREGUARD, TCP_CONTROL.replace("HOST", "database.database"), "path: closed"),
    "restart": (RESTART, TCP_CONTROL.replace("HOST", "database.database"), "path: closed"),
}


def drill_text(
    name: str, kind: str, host: str, alerts: tuple[str, ...] = (), quiet: tuple[str, ...] = (), resolves: bool = True
) -> str:
    """One drill of a playbook."""
    inject, control, expected = KINDS[kind]
    until = ", resolvesWithin: 10m" if resolves else ""
    wanted = ", ".join(f"{{name: {one}, within: 6m{until}}}" for one in alerts)
    parts = [expected, f"alerts: [{wanted}]" if alerts else "", f"quiet: [{', '.join(quiet)}]" if quiet else ""]
    expect = ", ".join(part for part in parts if part) or "alerts: []"
    text = f"  - {{name: {name}, inject: {inject}, control: {control}, expect: {{{expect}}}}}\n"
    return text.replace("HOST", host)


def playbook(*drills: str, rate: float = 500) -> Playbook:
    """A playbook of such drills."""
    return parse(HEAD.replace("RATE", f"{rate:g}") + "".join(drills), Path("side-by-side.yaml"))


def drill(name: str, kind: str, host: str, alerts: tuple[str, ...] = (), quiet: tuple[str, ...] = ()) -> Drill:
    """One loaded drill."""
    return playbook(drill_text(name, kind, host, alerts, quiet)).drills[0]
