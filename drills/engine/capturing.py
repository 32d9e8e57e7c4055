"""Captures on all nodes around a fault: their pods, recorded before they are made, and what they saw."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.naming import capture_pod
from drills.engine.target import Target
from drills.engine.undo import digest, of_drill_pod
from drills.errors import DrillsError, WorldError
from drills.inject import plaintext
from drills.inject.plaintext import CaptureEnd, Plaintext
from drills.kube import DrillPodSpec
from drills.kube.api import Obj
from drills.kube.captures import (
    Capture,
    Ends,
    capture_manifest,
    configuration,
    create_capture_pod,
    wait_capture_pod,
)
from drills.kube.lease import NAMESPACE

READY_SECONDS = 60.0  # on the wall: a real cluster may have to pull the image
GONE_SECONDS = 30.0


class Captures:
    """One capture on every node of a drill."""

    def __init__(self, target: Target, journal: Journal, run: str, interrupt: Interrupt) -> None:
        self._target, self._journal, self._interrupt = target, journal, interrupt
        self._run = run
        self._pods: dict[str, tuple[DrillPodSpec, int]] = {}  # by node, with the change's number in the journal
        self._captures: dict[str, Capture] = {}
        self._problems: dict[str, str] = {}

    def bring(self, drill: str, nodes: Mapping[str, Obj], lifetime: float) -> None:
        """Create a pod on every node and wait until all run. WorldError if one does not."""
        for node in sorted(nodes):
            name = capture_pod(node, self._run)
            spec = DrillPodSpec(self._run, drill, name, NAMESPACE, {}, lifetime=lifetime, node=node)
            what = f"pod {NAMESPACE}/{name}"
            made, how = digest(capture_manifest(spec)), of_drill_pod(NAMESPACE, name)
            self._pods[node] = spec, self._journal.change(what, undo="delete it", after=made, how=how)
            create_capture_pod(self._target.cluster, spec)
        until = time.monotonic() + READY_SECONDS
        for spec, _ in self._pods.values():
            wait_capture_pod(self._target.cluster, spec, until, self._interrupt.stop)

    def start(self, nodes: Mapping[str, Obj]) -> None:
        """Watch from now on, and show that what is known is seen. What goes wrong is told by `judge`."""
        nonce = secrets.token_hex(8)
        for node, (spec, _) in self._pods.items():
            other = next(name for name in sorted(nodes) if name != node)
            ends = Ends(_address(nodes[node]), _address(nodes[other]))

            def start(spec: DrillPodSpec = spec, line: str = configuration(nonce, node, nodes, ends)) -> Capture:
                return Capture.start(self._target.cluster, spec, line)

            self._try(node, lambda node=node, start=start: self._captures.update({node: start()}))  # type: ignore[misc]
        self._mark(plaintext.BEFORE)

    def judge(self, since: float, until: float) -> Plaintext:
        """End it: what all of them saw from ``since`` to ``until`` (Unix times)."""
        self._mark(plaintext.AFTER)
        ends: dict[str, CaptureEnd | str] = {}
        for node, capture in self._captures.items():
            self._try(node, lambda n=node, c=capture: ends.update({n: CaptureEnd.read(c.end())}))  # type: ignore[misc]
        self._captures.clear()
        return plaintext.judge(sorted(self._pods), {**self._problems, **ends}, since, until)

    def remove(self) -> list[DrillsError]:
        """Delete the pods and see them gone; what went wrong."""
        for capture in self._captures.values():
            with suppress(DrillsError):
                capture.end()
        self._captures.clear()
        problems: list[DrillsError] = []
        for spec, number in self._pods.values():
            try:
                self._target.cluster.delete_drill_pod(spec.namespace, spec.name, GONE_SECONDS)
                self._journal.undone(number)
            except DrillsError as error:
                problems.append(error)
        return problems

    def _mark(self, name: str) -> None:
        for node, capture in self._captures.items():
            self._try(node, lambda capture=capture: capture.mark(name))  # type: ignore[misc]

    def _try(self, node: str, step: Callable[[], object]) -> None:
        try:
            step()
        except (DrillsError, KeyError, ValueError) as error:
            self._problems.setdefault(node, str(error))


def _address(node: Obj) -> str:
    """A pod's address on a node: that of its health endpoint, else the last one of its network."""
    spec = node["spec"]
    if health := (spec.get("health") or {}).get("ipv4"):
        return str(health)
    networks = (spec.get("ipam") or {}).get("podCIDRs") or ()
    found = next((each for each in networks if ":" not in each), None)
    if found is None:
        raise WorldError(f"CiliumNode {node['metadata']['name']} names no pod network of IPv4")
    return str(ipaddress.ip_network(found, strict=False)[-2])
