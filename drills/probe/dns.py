"""DNS attempts: one question in a datagram of its own, then a connection to the answer.

The name is absolute and asked for as it is: no search list, no second server, no retry, one type of record. The phase
``resolve`` ends with what the server said, or with silence; ``connect`` has the whole timeout to itself.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from drills.probe.attempt import Attempt, AttemptError, Steps, failure_of

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_MESSAGE = 65535
SHOWN_ADDRESSES = 16
ANSWERS = {dns.rcode.REFUSED: "refused", dns.rcode.NXDOMAIN: "nxdomain", dns.rcode.SERVFAIL: "servfail"}


class DnsAttempt(Attempt):
    """A lookup and a connection; only the connection where ``addresses`` were given.

    ``localAddress`` and ``localPort`` are those of the phase that it ended in; ``body`` has the addresses of the
    answer. Errors of ``resolve``: refused, nxdomain, servfail, rcode-..., no-address, truncated (all of them said by
    the server), timeout, unreachable, no-nameserver, bad-name.
    """

    looks_up = True

    def steps(self) -> Steps:
        """Ask, then connect."""
        if self.record["address"] is None:
            found = yield from self._look_up()
            self.record["address"] = found[self.number % len(found)]
            self.enter("connect")
            self.expires = time.monotonic() + self.config.timeout
        yield from self.connect()
        self.enter("connected")

    def _look_up(self) -> Generator[int, None, list[str]]:
        try:
            query = dns.message.make_query(self.config.host, self.config.qtype)
        except dns.exception.DNSException as error:
            raise AttemptError("bad-name", str(error)) from None
        try:
            answer = yield from self._ask(query)
        except OSError as error:
            raise _of_resolve(failure_of(error)) from None
        except AttemptError as failure:
            raise _of_resolve(failure) from None
        return self._addresses(answer)

    def _ask(self, query: dns.message.Message) -> Generator[int, None, dns.message.Message]:
        server = self.config.nameserver or nameserver(RESOLV_CONF.read_text())
        self.socket = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.setblocking(False)
            self.socket.connect((server, self.config.nameserver_port))
            self._note_local_end()
            self.socket.send(query.to_wire())
            return (yield from self._response(self.socket, query))
        finally:
            self.socket.close()
            self.socket = None

    def _response(
        self, datagrams: socket.socket, query: dns.message.Message
    ) -> Generator[int, None, dns.message.Message]:
        """The first datagram that answers the question."""
        while True:
            data = yield from self.retried(partial(datagrams.recv, MAX_MESSAGE))
            try:
                answer = dns.message.from_wire(data, ignore_trailing=True)
            except dns.exception.DNSException:
                continue
            if query.is_response(answer):
                return answer

    def _addresses(self, answer: dns.message.Message) -> list[str]:
        code = answer.rcode()
        if code != dns.rcode.NOERROR:
            name = dns.rcode.to_text(code)
            raise AttemptError(ANSWERS.get(code, f"rcode-{name.lower()}"), name)
        wanted = dns.rdatatype.from_text(self.config.qtype)
        found = sorted(item.address for rrset in answer.answer if rrset.rdtype == wanted for item in rrset)
        self.record["body"] = " ".join(found[:SHOWN_ADDRESSES])
        if not found:
            raise AttemptError("truncated" if answer.flags & dns.flags.TC else "no-address")
        return found


def _of_resolve(failure: AttemptError) -> AttemptError:
    """A port that nobody listens on is no answer: ``refused`` is what a server says."""
    return AttemptError("unreachable", failure.detail) if failure.kind in ("refused", "reset") else failure


def nameserver(resolv_conf: str) -> str:
    """The first server of a resolv.conf."""
    for line in resolv_conf.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            return words[1]
    raise AttemptError("no-nameserver", f"{RESOLV_CONF} names none")
