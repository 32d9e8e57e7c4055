"""The load of a flood that names no locustfile of its own: every user asks for the playbook's URL, again and again.

It is an ordinary locustfile: ``locust -f locustfile.py --host http://http-api.backend`` runs it. To send something
else, write your own and name it in the playbook (``flood: {locustfile: my_locustfile.py, ...}``); any User class of
Locust's will do. The playbook says how many users there are and for how long, and its ``rate`` holds whatever they do.
"""

import os

from locust import task

from drills.flood.rawuser import RawHttpUser  # leaner than locust.FastHttpUser, which fits here as well

PATH = os.environ.get("FLOOD_PATH", "/")  # path and query of the playbook's url; its host is the user's


class Flood(RawHttpUser):
    """One user: one connection, one request after another."""

    @task
    def get(self) -> None:
        """As soon as its turn has come."""
        self.client.get(PATH)
