"""A certificate authority for one lab's lifetime, and the API's certificate; the keys never leave the lab's tmpfs."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

from drills.errors import WorldError
from drills.lab import plan

DAYS = 30

NAMES = (
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
    "IP:127.0.0.1",
    f"IP:{plan.SUPERVISOR}",
    f"IP:{plan.KUBERNETES_SERVICE}",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files in the lab."""

    authority: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """For the API's listener."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


async def make(directory: Path) -> Certificates:
    """Make all of it with openssl (0.05 s). WorldError if openssl is missing or refuses."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority, authority_key = directory / "ca.crt", directory / "ca.key"
    made = Certificates(authority, directory / "api.crt", directory / "api.key")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    new += ["-days", str(DAYS)]
    authority_only = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    await _run(
        [*new, "-subj", "/CN=drills lab", "-keyout", str(authority_key), "-out", str(authority), *authority_only]
    )
    new += ["-CA", str(authority), "-CAkey", str(authority_key)]
    for extension in (
        "subjectAltName=" + ",".join(NAMES),
        "basicConstraints=critical,CA:FALSE",
        "extendedKeyUsage=serverAuth",
    ):
        new += ["-addext", extension]
    await _run([*new, "-subj", "/CN=kubernetes", "-keyout", str(made.key), "-out", str(made.certificate)])
    return made


async def _run(argv: list[str]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise WorldError("The program openssl is missing: `drills doctor` says what brings it.") from None
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise WorldError(f"openssl cannot make the API's certificate: {errors.decode(errors='replace').strip()}")
