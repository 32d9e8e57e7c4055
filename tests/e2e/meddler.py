"""Who spoils the drills of the enforcement lies, and how to read what became of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from conftest import Ended, Lab
from lies_support import Inside, drill_of, events_of

THEIRS = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: clients, labels: {{app: theirs}}}}
spec: {{containers: [{{name: idle, image: "busybox:1.36", command: [sleep, infinity]}}]}}
"""
CHATTER = """
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(12000):
    sender.sendto(b"", ("{address}", 9))
"""
KILL_PROBE = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if b"drills.probe" in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
        os.kill(int(process.name), signal.SIGKILL)
"""


class Run:
    """What a run of a playbook left."""

    def __init__(self, lab: Lab, ended: Ended, out: Path) -> None:
        self.lab = lab
        self.ended = ended
        self.out = out
        self.result = lab.drills.result(out)
        self.journal = events_of(out)

    def __getitem__(self, drill: str) -> dict[str, Any]:
        return drill_of(self.result, drill)

    def held(self, drill: str) -> tuple[str, str]:
        """The enforcement's verdict and its reason."""
        enforcement = self[drill]["enforcement"]
        return enforcement["verdict"], enforcement["reason"]

    def evidence(self, drill: str, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self[drill]["enforcement"]["evidence"] if one["kind"] == kind)
        return found


class Meddler:
    """Who spoils the drills of ``meddled.yaml``."""

    def __init__(self, lab: Lab) -> None:
        self._kubectl = lab.kubectl
        self._lab = lab
        self.replaced = ""  # uid of the pod that took a drill pod's place

    def drill_pod(self, drill: str) -> str:
        """The client's: another drill's pod may be about to go."""
        pods = json.loads(self._kubectl("get", "pods", "-n", "clients", "-o", "json"))["items"]
        own = [pod for pod in pods if (pod["metadata"].get("annotations") or {}).get("drills/drill") == drill]
        return next(str(pod["metadata"]["name"]) for pod in own if "drill-client" in pod["metadata"]["name"])

    def restart_agent(self) -> None:
        agents = ("-n", "kube-system", "-l", "k8s-app=cilium", "--field-selector", "spec.nodeName=k8s-w1")
        self._kubectl("delete", "pod", *agents, "--wait=false")

    def chatter(self) -> None:
        address = self._kubectl("get", "pod", "-n", "app", "guarded-1", "-o", "jsonpath={.status.podIP}")
        script = CHATTER.format(address=address)
        self._kubectl("exec", "-n", "clients", "chatterbox", "--", "python3", "-c", script)

    def edit_policy(self) -> None:
        patch = '{"spec": {"description": "still denies the same"}}'
        self._kubectl("patch", "cnp", "-n", "app", "edited", "--type=merge", "-p", patch)

    def remove_policy(self) -> None:
        self._kubectl("delete", "cnp", "-n", "app", "dropped")

    def kill_probe(self) -> None:
        self._kubectl("exec", "-n", "clients", self.drill_pod("probe-killed"), "--", "python", "-c", KILL_PROBE)

    def remove_target(self) -> None:
        self._kubectl("delete", "pod", "-n", "app", "mortal", "--grace-period=0", "--force")

    def break_path(self) -> None:
        self._route("blackhole", "10.244.2.0/24")

    def mend_path(self) -> None:
        self._route("10.244.2.0/24", "via", "172.18.0.12")

    def _route(self, *route: str) -> None:
        command = Inside(self._lab).enter("ip", "netns", "exec", "k8s-w1", "ip", "route")
        if route[0] == "blackhole":
            subprocess.run([*command, "del", *route[1:]], check=True)
            subprocess.run([*command, "add", *route], check=True)
        else:
            subprocess.run([*command, "del", "blackhole", route[0]], check=True)
            subprocess.run([*command, "add", *route], check=True)

    def remove_drill_pod(self, drill: str = "pod-removed") -> None:
        self._kubectl("delete", "pod", "-n", "clients", self.drill_pod(drill), "--grace-period=0", "--force")

    def replace_drill_pod(self) -> None:
        name = self.drill_pod("pod-replaced")
        self.remove_drill_pod("pod-replaced")
        self._kubectl("create", "-f", "-", stdin=THEIRS.format(name=name))
        self.replaced = self._kubectl("get", "pod", "-n", "clients", name, "-o", "jsonpath={.metadata.uid}")
