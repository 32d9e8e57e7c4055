"""A small run: three changes to a cluster, and their undo. It is killed in the middle.

``undo_driver.py KUBECONFIG JOURNAL``; the changes are one of each kind that drills make.
"""

from __future__ import annotations

import sys
from pathlib import Path

from drills.engine.journal import Journal
from drills.engine.records import Records
from drills.engine.recovery import put_back
from drills.engine.session import alone
from drills.engine.undo import Delete, Restore
from drills.kube import Cluster
from drills.kube.references import Reference, create, delete, read, replace

RUN = "20260301-204800-abcdef"
NODE = Reference("cilium.io/v2", "ciliumnodes", "k8s-w1")
SECRET = Reference("v1", "secrets", "keys", "default")
MADE = Reference("v1", "configmaps", "made", "default")
KEY = "network.cilium.io/wg-pub-key"


def changed(node: dict) -> dict:
    annotations = {**node["metadata"]["annotations"], KEY: "another"}
    return {**node, "metadata": {**node["metadata"], "annotations": annotations}}


def main(kubeconfig: Path, path: Path) -> None:
    cluster = Cluster.connect(kubeconfig=kubeconfig)
    say = print
    with (
        alone(cluster, say, say, recover_first=False, command="drills recover"),
        Journal(path, lambda: "now", Records(cluster), RUN) as journal,
    ):
        node, secret = read(cluster, NODE), read(cluster, SECRET)
        assert node is not None
        assert secret is not None
        journal.change("key of k8s-w1", "put back", how=Restore(object=NODE, before=node, after=changed(node)))
        replace(cluster, NODE, changed(node))
        journal.change("Secret default/keys", "make it again", how=Restore(object=SECRET, before=secret, after=None))
        delete(cluster, SECRET, uid=secret["metadata"]["uid"])
        journal.change("ConfigMap default/made", "delete it", how=Delete(objects=(MADE,)))
        create(cluster, MADE, {"metadata": {"name": "made", "labels": {"drills/run": RUN}}})
        for number in (2, 1, 0):
            record = journal.record(number)
            assert record is not None
            assert put_back(cluster, record).finished
            journal.undone(number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
