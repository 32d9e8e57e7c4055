"""What runs inside a flood's pods: Locust, a master and its workers, held to the rate that it was told.

It imports nothing of ours. Locust's own distributed mode is at work, but its messages go over standard input and
output: the policies that a drill is about may well deny one pod to talk to another, and an allowance for the load would
change what is tried. So every worker listens on its own loopback, the master's end is reached from the master's
loopback, and whoever started both hands on what they say (``drills.flood.tunnel``).

Protocol, one JSON object a line. In: the configuration (see ``Config``), later ``{"go": true}`` to the master. Out:
``{"ready": ...}`` (of the master once all workers have come), ``{"running": ...}`` when every user is there,
``{"numbers": ...}`` twice a second, ``{"done": ...}`` with the last numbers, or ``{"error": "..."}``. Either way
``{"tunnel": [worker, connection, base64 or null]}``; null ends a connection. Everything ends at the deadline, and at
once when standard input closes. Whatever a locustfile prints goes to standard error.
"""
