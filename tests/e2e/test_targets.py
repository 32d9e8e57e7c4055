"""The same drill on the same lab as on any cluster: by a kubeconfig's context, and from a pod of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import BIN, ROOT, Drills, Lab
from lies_support import lab_with

from drills import __version__

pytestmark = pytest.mark.lab

HERE = ROOT / "tests" / "lab" / "misbehaving"
PLAYBOOK = HERE / "playbook.yaml"
WATCHED = (
    *("--prometheus", "service:monitoring/prometheus-operated:9090"),
    *("--alertmanager", "service:monitoring/alertmanager-operated:web"),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_with(tmp_path_factory.mktemp("targets"), "targets", HERE / "rules.yaml") as found:
        yield found


@pytest.fixture
def cluster(lab: Lab, tmp_path: Path) -> Drills:
    """The command with the lab's kubeconfig, and without knowing the lab."""
    environment = {key: value for key, value in lab.drills.environment.items() if key != "DRILLS_LAB"}
    known = {"KUBECONFIG": str(lab.kubeconfig), "XDG_STATE_HOME": str(tmp_path / "nothing")}
    return Drills(environment | known, tmp_path)


def context(lab: Lab) -> str:
    return lab.kubectl("config", "current-context").strip()


def test_a_context_and_services_through_the_api(lab: Lab, cluster: Drills, tmp_path: Path) -> None:
    done = cluster("run", PLAYBOOK, "--only", "closed", "--context", context(lab), *WATCHED, "--out", tmp_path / "out")
    assert done.status == 0, done.err + done.out
    (drill,) = cluster.result(tmp_path / "out")["drills"]
    assert (drill["enforcement"]["verdict"], drill["recovery"]["verdict"]) == ("held", "restored")
    (alert,) = drill["alerts"]
    assert (alert["verdict"], alert["notifiedAt"]) == ("detected", None)  # no receiver can be asked on a cluster
    assert alert["atAlertmanagerAt"] is not None
    recovered = cluster("recover", "--context", context(lab))
    assert (recovered.status, "Nothing is left to undo" in recovered.out) == (0, True)


def test_no_secret_of_the_kubeconfig_is_written_anywhere(lab: Lab, cluster: Drills, tmp_path: Path) -> None:
    token = next(line.split()[-1] for line in lab.kubeconfig.read_text().splitlines() if "token:" in line)
    out = tmp_path / "out"
    watched = ("--prometheus", "service:monitoring/none:9090")
    done = cluster("run", PLAYBOOK, "--only", "closed", "--context", context(lab), *watched, "--out", out)
    assert done.status == 3, done.err
    assert "Prometheus at service:monitoring/none:9090 answered 404" in done.err
    written = [path.read_text() for path in out.rglob("*") if path.is_file()]
    assert all(token not in text for text in (done.out, done.err, *written))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--prometheus", "http://a:b@c:9090"), "The address of c carries credentials"),
        (("--prometheus", "service:x"), "service:x names no Service"),
        (("--prometheus", "http://c", "--prometheus-http-config", "none.yaml"), "none.yaml cannot be read"),
        (("--prometheus", "http://c", "--alertmanager-http-config", "x"), "only means something with --alertmanager"),
        ((), "give --prometheus URL"),
    ],
)
def test_what_cannot_work_is_refused(cluster: Drills, arguments: tuple[str, ...], sentence: str) -> None:
    done = cluster("run", PLAYBOOK, "--context", "any", *arguments)
    assert (done.status, sentence in done.err) == (2, True), done.err


def test_silences_need_an_alertmanager_and_plan_lists_them(lab: Lab, cluster: Drills, tmp_path: Path) -> None:
    silent = tmp_path / "silent.yaml"
    silent.write_text(PLAYBOOK.read_text().replace("spec:\n", "spec:\n  notify: silence\n", 1))
    at = ("--only", "closed", "--context", context(lab))
    for command in ("run", "plan"):
        refused = cluster(command, silent, *at, *WATCHED[:2])
        assert refused.status == 2
        assert "The drill closed says notify: silence, and silences are laid at Alertmanager" in refused.err
    planned = cluster("plan", silent, *at, *WATCHED)
    assert planned.status == 0, planned.out + planned.err
    assert 'Silence {alertname="Denied"} [closed]: ended once the alert no longer fires' in planned.out
    assert "delete services/proxy alertmanager-operated:web in monitoring" in planned.out


POD = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: playbook, namespace: drills}}
data: {{playbook.yaml: {json.dumps(PLAYBOOK.read_text())}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: everything}}
rules: [{{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: everything}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything}}
subjects: [{{kind: ServiceAccount, name: default, namespace: drills}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: runner, namespace: drills}}
spec:
  serviceAccountName: default
  restartPolicy: Never
  containers:
  - name: drills
    image: drills:{__version__}
    command: [sleep, infinity]
    volumeMounts:
    - {{name: playbook, mountPath: /playbook}}
    - {{name: account, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}}
  volumes:
  - {{name: playbook, configMap: {{name: playbook}}}}
  - {{name: account, secret: {{secretName: account}}}}
"""


def account(lab: Lab) -> str:
    """What a kubelet projects into every pod, and the lab's does not: the account's token and the API's authority."""
    token = lab.kubectl("create", "token", "-n", "drills", "default").strip()
    config = json.loads(lab.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "account", "namespace": "drills"}}
    return json.dumps({**secret, "stringData": {"token": token, "ca.crt": authority}})


def test_in_a_pod_without_a_context_it_runs_on_the_pods_own_cluster(lab: Lab) -> None:
    lab.kubectl("apply", "-f", "-", stdin=account(lab))
    lab.kubectl("apply", "-f", "-", stdin=POD)
    lab.kubectl("wait", "-n", "drills", "pod/runner", "--for=condition=Ready", "--timeout=20s")
    run = "run /playbook/playbook.yaml --only closed --out /tmp/out " + " ".join(WATCHED)
    done = inside(lab, f"cd /tmp && python -m drills {run} && python -m drills recover")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "PASSED  misbehaving: 1 drill" in done.stdout
    assert "Nothing is left to undo on in-cluster." in done.stdout
    planned = inside(lab, "cd /tmp && python -m drills plan /playbook/playbook.yaml --only closed")
    assert planned.returncode == 0, planned.stderr + planned.stdout
    assert "misbehaving on in-cluster: 1 drill" in planned.stdout
    assert "no --prometheus was named" in planned.stdout
    assert "  yes create pods in frontend" in planned.stdout
    lost = inside(lab, "KUBERNETES_SERVICE_PORT= python -m drills recover")
    assert (lost.returncode, "This pod cannot use its service account" in lost.stderr) == (3, True), lost.stderr
    lab.kubectl("delete", "-n", "drills", "pod/runner", "configmap/playbook", "secret/account", "--now")


def inside(lab: Lab, script: str) -> subprocess.CompletedProcess[str]:
    command = ("exec", "-n", "drills", "runner", "--", "sh", "-c", script)
    return subprocess.run(
        [BIN / "kubectl", "--kubeconfig", lab.kubeconfig, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ,
    )


BROKEN = {  # by the name that the playbook expects
    "route": {"receiver": "security", "group_wait": "0s", "group_interval": "15s"},
    "receivers": [
        {"name": "security", "webhook_configs": [{"url": "http://receiver.lab/webhook/security?status=500"}]}
    ],
}


def test_a_receiver_that_fails_is_told_by_its_failed_tries(lab: Lab, cluster: Drills, tmp_path: Path) -> None:
    routes = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "alertmanager", "namespace": "monitoring"}}
    lab.kubectl("apply", "-f", "-", stdin=json.dumps({**routes, "data": {"alertmanager.yaml": json.dumps(BROKEN)}}))
    done = cluster("run", PLAYBOOK, "--only", "closed", "--context", context(lab), *WATCHED, "--out", tmp_path / "out")
    assert done.status == 1, done.err + done.out
    (alert,) = cluster.result(tmp_path / "out")["drills"][0]["alerts"]
    assert (alert["verdict"], alert["stoppedAt"]) == ("undelivered", "receiver-failed")
    assert "tries to notify failed since the attack began" in alert["reason"]
    assert alert["atAlertmanagerAt"] is not None
    lab.kubectl("delete", "-n", "monitoring", "configmap/alertmanager")
