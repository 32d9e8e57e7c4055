"""Who spoils the drills of the enforcement lies, and how to read what became of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from command import Ended, Lab
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
# As many drops as the drill makes attempts, and then a flood of packets that are dropped for another reason.
OTHERS_DROPS = """
import socket, struct
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range({drops}):
    sender.sendto(b"", ("{address}", 9))
forger = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
ends = socket.inet_aton("192.0.2.1") + socket.inet_aton("{address}")
packet = struct.pack("!BBHHHBBH8sHHHH", 0x45, 0, 28, 0, 0, 64, 17, 0, ends, 9, 9, 8, 0)
for _ in range(20000):
    forger.sendto(packet, ("{address}", 0))
"""
KILL_PROBE = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if b"drills.probe" in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
        os.kill(int(process.name), signal.SIGKILL)
"""
OTHERS = 125  # drops of somebody else: the drill's attempts, and some


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
        self._chatter(CHATTER.format(address=self._address("guarded-1")))

    def drop_as_many(self) -> None:
        """Somebody else is denied as often as the drill tries, and Hubble forgets who was."""
        self._chatter(OTHERS_DROPS.format(address=self._address("guarded-1"), drops=OTHERS))

    def _chatter(self, script: str) -> None:
        self._kubectl("exec", "-n", "clients", "chatterbox", "--", "python3", "-c", script)

    def _address(self, pod: str) -> str:
        return self._kubectl("get", "pod", "-n", "app", pod, "-o", "jsonpath={.status.podIP}")

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
        self._route("del", "10.244.2.0/24")
        self._route("add", "blackhole", "10.244.2.0/24")

    def mend_path(self) -> None:
        self._route("del", "blackhole", "10.244.2.0/24")
        self._route("add", "10.244.2.0/24", "via", "172.18.0.12")

    def break_path_to_silent(self) -> None:
        self._route("add", "blackhole", self._address("silent"))

    def mend_path_to_silent(self) -> None:
        self._route("del", "blackhole", self._address("silent"))

    def _route(self, *words: str) -> None:
        command = Inside(self._lab).enter("ip", "netns", "exec", "k8s-w1", "ip", "route")
        subprocess.run([*command, *words], check=True)

    def remove_drill_pod(self, drill: str = "pod-removed") -> None:
        self._kubectl("delete", "pod", "-n", "clients", self.drill_pod(drill), "--grace-period=0", "--force")

    def replace_drill_pod(self) -> None:
        name = self.drill_pod("pod-replaced")
        self.remove_drill_pod("pod-replaced")
        self._kubectl("create", "-f", "-", stdin=THEIRS.format(name=name))
        self.replaced = self._kubectl("get", "pod", "-n", "clients", name, "-o", "jsonpath={.metadata.uid}")
