"""Pod Security's level ``restricted`` for every pod that the project makes, but captures, which say why they cannot.

The rules: Kubernetes documentation, "Pod Security Standards", profile Restricted (with all of Baseline).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drills.deploy.manifests import Written, of_playbook
from drills.deploy.settings import Settings
from drills.kube.captures import capture_manifest
from drills.kube.ephemeral import EphemeralSpec, ephemeral_manifest
from drills.kube.pods import DrillPodSpec, pod_manifest
from drills.playbook import load

PLAYBOOK = Path(__file__).parents[3] / "playbooks" / "zero-trust.yaml"
SPEC = DrillPodSpec("run-1", "drill", "drill-x", "frontend", {"app": "frontend"}, lifetime=60.0)
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(spec: dict[str, Any]) -> Iterator[str]:
    """What the admission controller would refuse under ``enforce: restricted``."""
    pod = spec.get("securityContext") or {}
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    for volume in spec.get("volumes") or ():
        if not set(volume) - {"name"} <= VOLUMES:
            yield f"volume {volume['name']}"
    if any(key in pod for key in ("sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile")):
        yield "pod options"
    for container in [*spec["containers"], *(spec.get("initContainers") or ())]:
        yield from _of_container(pod, container.get("securityContext") or {})
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield "hostPort"


def _of_container(pod: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    merged = {**pod, **own}
    if own.get("privileged") or own.get("procMount", "Default") != "Default":
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if merged.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if merged.get("runAsUser") == 0:
        yield "runAsUser"
    if (merged.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities.drop"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add"


def runner() -> dict[str, Any]:
    (job,) = [one for one in of_playbook(Written(PLAYBOOK, load(PLAYBOOK)), Settings()) if one["kind"] == "CronJob"]
    spec: dict[str, Any] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("spec", [pod_manifest(SPEC, "uid")["spec"], runner()], ids=["drill pod", "runner"])
def test_restricted_and_limited(spec: dict[str, Any]) -> None:
    assert list(violations(spec)) == []
    for container in spec["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "memory" in container["resources"]["limits"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_an_ephemeral_container_is_restricted_in_whichever_pod() -> None:
    container = ephemeral_manifest(EphemeralSpec("frontend", "x", "drill-x", 60.4))
    assert list(violations({"containers": [container]})) == []
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "resources" not in container, "Kubernetes allows it none"
    assert container["command"][-1] == "60", "it ends by itself"


def test_only_the_runner_gets_a_token() -> None:
    assert pod_manifest(SPEC, "uid")["spec"]["automountServiceAccountToken"] is False
    given = replace(SPEC, service_account="client")
    assert pod_manifest(given, "uid")["spec"]["automountServiceAccountToken"] is False
    assert runner()["automountServiceAccountToken"] is True


def test_a_capture_breaks_exactly_the_rules_that_it_must() -> None:
    spec = capture_manifest(replace(SPEC, node="k8s-w1"), "uid")["spec"]
    assert set(violations(spec)) == {"hostNetwork", "runAsNonRoot", "runAsUser", "capabilities.add"}
