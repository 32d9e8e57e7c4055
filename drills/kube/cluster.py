"""The one interface to a target: a Kubernetes API, of a lab or of a cluster; nothing here knows which."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from drills.budget import Budget
from drills.kube.api import BUDGET, configure, configure_in_cluster
from drills.kube.cilium import CiliumApi
from drills.kube.objects import ObjectApi
from drills.kube.proxy import ProxyApi


class Cluster(CiliumApi, ObjectApi, ProxyApi):
    """Pods, commands in them, objects, and Cilium's own. Every failure is a WorldError with one sentence."""

    @classmethod
    def connect(
        cls,
        *,
        kubeconfig: Path | None = None,
        context: str | None = None,
        in_cluster: bool = False,
        budget: Budget = BUDGET,
    ) -> Self:
        """By a kubeconfig (the default one if none is named), or ``in_cluster`` as the service account of this pod.

        InputError for a file or context that is not there, WorldError where there is neither; the API is not asked yet.
        ``budget``: for every call that fails in passing.
        """
        found = configure_in_cluster() if in_cluster else configure(kubeconfig=kubeconfig, context=context)
        return cls(*found, kubeconfig, budget=budget)
