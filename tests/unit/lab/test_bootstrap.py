"""What a new cluster contains."""

from __future__ import annotations

import copy

from drills.lab import bootstrap, plan
from drills.lab.api.resources import CONFIGMAPS, NODES, SERVICES, by_kind
from drills.lab.api.store import Store
from drills.lab.settings import LabSettings


def test_everything_can_be_stored_in_its_order() -> None:
    store = Store()
    for obj in bootstrap.objects(LabSettings(time_lapse=5)):
        resource = by_kind(obj["apiVersion"], obj["kind"])
        assert resource is not None, obj
        store.create(resource, copy.deepcopy(obj))
    assert store.get(CONFIGMAPS, "kube-system", "drills-lab")["data"]["timeLapse"] == "5"
    assert store.get(SERVICES, "kube-system", "kube-dns")["spec"]["clusterIP"] == str(plan.DNS_SERVICE)
    for node in store.list(NODES):
        assert node["status"]["addresses"][0]["address"] == str(plan.NODES[node["metadata"]["name"]])
