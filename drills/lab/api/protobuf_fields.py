"""Field numbers of the few kinds that `protobuf` reads: those of ``kubectl create`` for namespaces, secrets, maps,
service accounts and tokens, and of ``kubectl auth can-i``. Facts of Kubernetes' wire format (k8s.io/api,
generated.proto), which never change for a released version.

A type is ``string``, ``bytes``, ``integer``, ``boolean``, ``time`` or a message; ``[]`` repeats it, ``{}`` maps text
to it.
"""

from __future__ import annotations

from typing import Final

Fields = dict[int, tuple[str, str]]


def _object(**parts: str) -> Fields:
    """A kind: its metadata is field 1; the others follow from 2 in their order."""
    return {1: ("metadata", "ObjectMeta")} | dict(enumerate(parts.items(), 2))


def _texts(*names: str) -> Fields:
    """Texts, numbered from 1."""
    return {number: (name, "string") for number, name in enumerate(names, 1)}


MESSAGES: Final[dict[str, Fields]] = {
    "ObjectMeta": {
        **_texts("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"),
        7: ("generation", "integer"),
        8: ("creationTimestamp", "time"),
        11: ("labels", "{}string"),
        12: ("annotations", "{}string"),
        13: ("ownerReferences", "[]OwnerReference"),
        14: ("finalizers", "[]string"),
    },
    "OwnerReference": {
        1: ("kind", "string"),
        3: ("name", "string"),
        4: ("uid", "string"),
        5: ("apiVersion", "string"),
        6: ("controller", "boolean"),
        7: ("blockOwnerDeletion", "boolean"),
    },
    "Namespace": _object(spec="NamespaceSpec"),
    "NamespaceSpec": {1: ("finalizers", "[]string")},
    "Secret": _object(data="{}bytes", type="string", stringData="{}string", immutable="boolean"),
    "ConfigMap": _object(data="{}string", binaryData="{}bytes", immutable="boolean"),
    "ServiceAccount": _object(),
    "TokenRequest": _object(spec="TokenRequestSpec"),
    "TokenRequestSpec": {1: ("audiences", "[]string"), 4: ("expirationSeconds", "integer")},
    "SelfSubjectAccessReview": _object(spec="SelfSubjectAccessReviewSpec"),
    "SelfSubjectAccessReviewSpec": {
        1: ("resourceAttributes", "ResourceAttributes"),
        2: ("nonResourceAttributes", "NonResourceAttributes"),
    },
    "ResourceAttributes": _texts("namespace", "verb", "group", "version", "resource", "subresource", "name"),
    "NonResourceAttributes": _texts("path", "verb"),
    "SelfSubjectRulesReview": _object(spec="SelfSubjectRulesReviewSpec"),
    "SelfSubjectRulesReviewSpec": _texts("namespace"),
    "SelfSubjectReview": _object(),
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "integer"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "boolean"),
        4: ("propagationPolicy", "string"),
        5: ("dryRun", "[]string"),
    },
    "Preconditions": _texts("uid", "resourceVersion"),
    "TypeMeta": _texts("apiVersion", "kind"),
    "Envelope": {1: ("typeMeta", "TypeMeta"), 2: ("raw", "bytes")},
}
