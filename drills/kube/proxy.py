"""Services reached through the API server's proxy, by the API's own address, certificates and credentials.

What a drill asks of Prometheus and Alertmanager then needs no way into the cluster but the API, and no credentials but
those that it has already: the right ``get`` on ``services/proxy``, and for silences ``create`` and ``delete``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from drills.errors import InputError
from drills.kube.api import Api, core
from drills.reach import Reach

PREFIX = "service:"
_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_FORM = re.compile(
    rf"service:(?P<namespace>{_NAME})/(?:(?P<scheme>https?):)?(?P<name>{_NAME})(?::(?P<port>[-a-z0-9]+))?(?P<path>(?:/(?!\.\.?(?:/|$))[^/?#]*)*)"
)


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """``service:NAMESPACE/[https:]NAME[:PORT][/PATH]``: as the API's own path has it; a port by number or name."""

    namespace: str
    name: str  # with scheme and port
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """InputError for a text that says something else."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise InputError(f"{text} names no Service: write service:NAMESPACE/NAME:PORT, or .../https:NAME:PORT.")
        scheme, port = found["scheme"], found["port"]
        name = ":".join(part for part in (scheme, found["name"], port or ("" if scheme else None)) if part is not None)
        return cls(found["namespace"], name, found["path"].rstrip("/"))

    def __str__(self) -> str:
        return f"{PREFIX}{self.namespace}/{self.name}{self.path}"


class ProxyApi(Api):
    """The way to Services."""

    def through(self, at: ServiceAddress) -> Reach:
        """The way to a Service; nothing is asked yet."""
        set_up = self._configuration
        files = (set_up.cert_file, set_up.key_file)
        own = core("services", at.namespace, at.name, "proxy").replace(quote(at.name, safe=""), at.name)
        return Reach(
            url=f"{self.address}{own}{at.path}",
            name=str(at),
            headers=self.credentials,
            authority=set_up.ssl_ca_cert or None,
            verify=bool(set_up.verify_ssl),
            certificate=(files[0], files[1]) if all(files) else None,
            server_name=set_up.tls_server_name or None,
            proxy=set_up.proxy or None,
            environment=False,
        )
