"""A flood that takes a small server down: most of its users begin a request each and never end it, so that the server
runs out of connections, and the others ask something else as fast as they may.
"""

import gevent
from gevent import socket
from locust import User, task

from drills.flood.rawuser import RawHttpUser


class Holds(User):
    weight = 3

    @task
    def hold(self) -> None:
        with socket.create_connection(("weak.backend", 80)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: weak.backend\r\nX-Slow: ")
            gevent.sleep(600)


class Asks(RawHttpUser):
    @task
    def ask(self) -> None:
        self.client.get("/")
