"""Work inside named network namespaces without moving the caller: setns happens only in threads that end with it.

Namespaces are found by name in ``/run/netns``, which in the lab is a tmpfs of its own.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

from drills.errors import WorldError

NETNS_DIR = Path("/run/netns")
CLONE_NEWNET = 0x40000000

T = TypeVar("T")

_NFT = threading.Lock()  # libnftables keeps some tables for the whole process


def enter(name: str) -> None:
    """Move the calling *thread* into the namespace, for good: only for threads and children that end with it."""
    libc = _libc()
    handle = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"setns to network namespace {name}: {os.strerror(error)}")
    finally:
        os.close(handle)


def in_netns(name: str, function: Callable[[], T]) -> T:
    """The result of ``function``, called in a thread of its own inside the namespace; it must not block for long.

    Raises what the function raises, and FileNotFoundError if the namespace does not exist. Do not start
    long-lived processes here: those with PR_SET_PDEATHSIG (Envoy) die with the thread.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            enter(name)
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=body, name=f"netns-{name}", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def socket_in(
    name: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
) -> socket.socket:
    """A socket that belongs to the namespace, usable from any thread."""
    return in_netns(name, lambda: socket.socket(family, kind, protocol))


def listener_in(name: str, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A non-blocking bound (and, for streams, listening) socket in the namespace."""
    sock = socket_in(name, socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock


def ip_batch(name: str | None, lines: Iterable[str]) -> None:
    """Run ``ip`` commands (without the leading ``ip``) as one batch in the namespace; None is the caller's own."""
    place = ["-n", name] if name else []
    _run(["ip", *place, "-batch", "-"], "\n".join(lines) + "\n")


def write_sysctls(name: str | None, values: dict[str, str]) -> None:
    """Set ``net.*`` sysctls (keys with slashes, below /proc/sys/net) in the namespace; None is the caller's own.

    IPv6's are left out where the kernel has no IPv6.
    """

    def write() -> None:
        for key, value in values.items():
            # /proc/thread-self: the sysctls of this thread's namespace, not of the process's first thread
            file = Path("/proc/sys/net", key)
            if file.exists() or not key.startswith("ipv6/"):
                file.write_text(value)

    if name is None:
        write()
    else:
        in_netns(name, write)


def nft(name: str, script: str, *, json: bool = False) -> str:
    """Run an nftables script as one transaction in the namespace and return what it prints.

    About 0.3 ms through libnftables; where that library is not to be had, the ``nft`` program does it (16 ms).
    WorldError carries nft's own message.
    """
    if _libnftables() is None:
        return nft_program(name, script, json=json)
    with _NFT:
        return in_netns(name, lambda: _nft_here(script, json=json))


def nft_program(name: str, script: str, *, json: bool = False) -> str:
    """What `nft` does, by the program."""
    command = ["nsenter", f"--net={NETNS_DIR / name}", "nft"]
    if json:  # -j would take what it reads from a file for JSON
        return _run([*command, "-j", script], "")
    return _run([*command, "-f", "-"], script)


def exists(name: str) -> bool:
    """Whether the namespace is there."""
    return (NETNS_DIR / name).exists()


def _nft_here(script: str, *, json: bool) -> str:
    library = _libnftables()
    assert library is not None
    context = library.nft_ctx_new(0)  # its netlink socket belongs to this thread's namespace
    if not context:
        raise WorldError("libnftables gives no context: is nf_tables available in this kernel?")
    try:
        if json:
            library.nft_ctx_output_set_flags(context, 1 << 4)  # NFT_CTX_OUTPUT_JSON
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        status = library.nft_run_cmd_from_buffer(context, script.encode())
        if status != 0:
            message = (library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace").strip()
            raise WorldError(f"nft refuses the rules: {message}")
        return cast(bytes, library.nft_ctx_get_output_buffer(context) or b"").decode()
    finally:
        library.nft_ctx_free(context)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@cache
def _libnftables() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError:
        return None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_free.restype = None
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_ctx_output_set_flags.restype = None
    for function in (library.nft_ctx_buffer_output, library.nft_ctx_buffer_error):
        function.argtypes = [ctypes.c_void_p]
    for function in (library.nft_ctx_get_output_buffer, library.nft_ctx_get_error_buffer):
        function.argtypes = [ctypes.c_void_p]
        function.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def _run(command: list[str], text: str) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise WorldError(f"The program {command[0]} is missing: `drills doctor` says what brings it.") from None
    if done.returncode != 0:
        raise WorldError(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
