"""Every other way to send: requests with redirects, urllib, a bare socket, a client that only reports."""

import urllib.request

from gevent import socket
from locust import HttpUser, User, task


class WithRequests(HttpUser):
    @task
    def follow(self) -> None:
        self.client.get("/moved")


class WithUrllib(User):
    @task
    def read(self) -> None:
        with urllib.request.urlopen(self.host + "/") as answer:
            answer.read()


class WithSocket(User):
    @task
    def talk(self) -> None:
        host, _, port = self.host.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            for _ in range(50):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                connection.recv(65536)


class OnlyReports(User):
    @task
    def report(self) -> None:
        self.environment.events.request.fire(
            request_type="X", name="x", response_time=1, response_length=0, exception=None, context={}
        )
