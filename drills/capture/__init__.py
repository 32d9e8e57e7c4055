"""Watches a node's links for what should not be there: packets from pod to pod in plaintext.

Runs as ``python -m drills.capture`` in a pod of the project's image on the node's network (CAP_NET_RAW), and imports
nothing of ours. JSON lines on standard input and output. The first line is the configuration (`Config`); after
``{"ready": ...}`` each ``{"mark": NAME}`` makes it send packets that it must then see itself, and says whether it did:

- on every watched interface one that looks like a packet from pod to pod (its frame goes to the broadcast address, so
  that no node takes it for its own and no pod ever gets it), and
- to every other node a datagram by the node's own routes: the way between the nodes must be a watched one.

Every second it says what it has counted; at ``{"end": true}`` or the end of its input everything, with samples. Without
a mark seen before and after, and with packets lost in the kernel, a count of zero proves nothing.
"""
