"""TLS of the lab's API: a private authority, one certificate, and the kubeconfig that trusts it.

kubectl sends no token over plain HTTP, so the API needs TLS even on loopback. Keys are made afresh for
each lab by the openssl program, in a directory that only its user can read, and die with the lab.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.errors import WorldError
from drills.lab import plan
from drills.lab.api.types import Obj

DAYS = 3650
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
         "kubernetes.default.svc.cluster.local")  # fmt: skip
ADDRESSES = ("127.0.0.1", str(plan.SUPERVISOR), str(plan.KUBERNETES_SERVICE))

_EXTENSIONS = """\
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of an API server's identity, PEM."""

    authority: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """The context that the server listens with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificates(directory: Path, *, more_addresses: Sequence[str] = ()) -> Certificates:
    """A new authority and a certificate for the API's names and addresses, in ``directory`` (made, mode 0700).

    Takes two openssl calls, some 20 ms. Raises WorldError if openssl is missing or fails.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    made = Certificates(directory / "ca.crt", directory / "api.crt", directory / "api.key")
    config, authority_key = directory / "openssl.cnf", directory / "ca.key"
    addresses = (f"IP:{address}" for address in (*ADDRESSES, *more_addresses))
    names = ",".join((*(f"DNS:{name}" for name in NAMES), *addresses))
    config.write_text("[req]\ndistinguished_name = name\n[name]\n" + _EXTENSIONS.format(names=names))
    for path in (authority_key, made.key):
        path.touch(mode=0o600)
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    common = ("req", "-x509", "-config", str(config), "-sha256", "-days", str(DAYS), *new_key)
    _openssl(*common, "-extensions", "authority", "-subj", "/CN=drills-lab-ca",
             "-keyout", str(authority_key), "-out", str(made.authority))  # fmt: skip
    _openssl(*common, "-extensions", "server", "-subj", "/CN=kube-apiserver",
             "-CA", str(made.authority), "-CAkey", str(authority_key),
             "-keyout", str(made.key), "-out", str(made.certificate))  # fmt: skip
    authority_key.unlink()
    return made


def _openssl(*arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError as error:
        raise WorldError("openssl is not installed; the lab's API needs it for its certificate") from error
    except subprocess.TimeoutExpired as error:
        raise WorldError("openssl did not make the API's certificate within 30 s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise WorldError(f"openssl could not make the API's certificate: {lines[-1]}")


def kubeconfig(server: str, authority_pem: bytes, token: str, *, name: str = "drills-lab") -> Obj:
    """A kubeconfig for an API at a URL (``https://127.0.0.1:6443``) and a bearer token."""
    authority = base64.b64encode(authority_pem).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }


def write_kubeconfig(path: Path, document: Obj) -> None:
    """Write a kubeconfig that only its user can read (0600), complete or not at all. JSON is YAML."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.rename(path)
