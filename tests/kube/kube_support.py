"""The API server under test, and the playbook and namespaces of one run of the tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drills.deploy.manifests import Written, of_playbook
from drills.deploy.settings import Obj, Settings
from drills.engine.publications import Where
from drills.kube import Cluster
from drills.playbook import Playbook

VARIABLE = "DRILLS_TEST_KUBECONFIG"
BIN = Path(sys.executable).parent
PATIENCE = 20.0
PLAYBOOK = """\
apiVersion: drills/v1
kind: Playbook
metadata: {name: NAME}
spec:
  guards: {namespaces: [NAME-front, NAME-back], allow: [capture]}
  sources:
    front: {namespace: NAME-front, labels: {app: front}}
    back: {namespace: NAME-back, labels: {app: back}}
  drills:
  - name: admin
    inject:
      http: {from: front, url: "http://api.NAME-back/admin", rate: 5/s, duration: 3m}
    control:
      http: {from: front, url: "http://api.NAME-back/", status: 200}
    expect: {denied: {status: 403}}
  - name: database
    inject:
      postgres: {from: front, host: db.NAME-back, user: u, database: d, passwordFrom: {secret: NAME-back/app, key: p},
                 rate: 2/s, duration: 1m}
    control:
      postgres: {from: back, host: db.NAME-back, user: u, database: d, passwordFrom: {secret: NAME-back/app, key: p}}
    expect: {denied: {connect: timeout}}
  - name: key
    inject:
      wireguard: {node: node-1, fault: key-replaced, duration: 5m}
    control:
      http: {from: front, url: "http://api.NAME-back/", status: 200, timeout: 2s}
    expect: {plaintext: none, path: closed}
  - name: flood
    inject:
      flood: {from: front, url: "http://api.NAME-back/", users: 9, rate: 4/s, duration: 1m, workers: 2,
              locustfile: users.py}
    control:
      http: {from: front, url: "http://api.NAME-back/", status: 200}
    expect: {during: [{http: {from: front, url: "http://api.NAME-back/admin", rate: 1/s}, denied: {status: 403}}]}
"""
LOCUSTFILE = "# The users of a flood.\n"
TOLD = (Where("events"), Where("configmap"))


@dataclass(frozen=True)
class Server:
    """The API server under test, and the namespaces and the playbook of this run of the tests."""

    kubeconfig: Path
    cluster: Cluster
    name: str
    path: Path
    playbook: Playbook

    @property
    def front(self) -> str:
        return f"{self.name}-front"

    @property
    def back(self) -> str:
        return f"{self.name}-back"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [BIN / "kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self) -> list[Obj]:
        """What `drills manifests` makes of the playbook, but for the namespaces."""
        return of_playbook(Written(self.path, self.playbook, "0 3 * * *"), Settings(publish=TOLD))

    def serves(self, obj: Obj) -> bool:
        """Whether the API knows an object's kind: that of a bare server lacks Cilium's and the operator's."""
        version = obj["apiVersion"]
        found = self.cluster.find("say what it serves", "GET", f"/apis/{version}" if "/" in version else "/api/v1")
        return any(one["kind"] == obj["kind"] for one in (found or {"resources": []})["resources"])


def eventually(question: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it becomes true: an API server's authorizer and caches follow its store, a moment later."""
    until = time.monotonic() + seconds
    while not (found := question()) and time.monotonic() < until:
        time.sleep(0.1)
    return found
