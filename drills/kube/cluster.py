"""The one interface to a target: a Kubernetes API, of a lab or of a cluster; nothing here knows which."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from drills.kube.api import configure
from drills.kube.cilium import CiliumApi
from drills.kube.objects import ObjectApi


class Cluster(CiliumApi, ObjectApi):
    """Pods, commands in them, objects, and Cilium's own. Every failure is a WorldError with one sentence."""

    @classmethod
    def connect(cls, *, kubeconfig: Path | None = None, context: str | None = None) -> Self:
        """By a kubeconfig (the default one if none is named), or as the service account of this pod.

        InputError for a file or context that is not there, WorldError where there is neither; the API is not asked yet.
        """
        return cls(*configure(kubeconfig=kubeconfig, context=context), kubeconfig)
