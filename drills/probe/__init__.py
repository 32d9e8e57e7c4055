"""What runs inside a source pod: makes attempts at a steady pace and reports each as one line of JSON.

It imports nothing of ours and only what its attempt needs, so that ``python -m drills.probe`` starts fast in any image.
One thread and one selector carry every attempt, so that a slow one never delays the next. Every attempt is one new TCP
connection: no retries, no redirects, no proxy, and the path is sent exactly as it was given. Kinds: ``http``, ``tcp``,
``dns`` (one question in a datagram of its own, then a connection to the answer), ``postgres`` (log in, SELECT 1).

Protocol, one JSON object a line. In: the configuration (see ``Config``), later ``{"go": true}`` or
``{"go": {"at": UNIX_TIME}}``. Out: ``{"ready": {...}}`` with the addresses of the target, resolved once (but for dns),
an ``{"attempt": {...}}`` each, ``{"done": {...}}`` at the end, or ``{"error": "..."}``. It ends when standard input
closes, when every attempt is over, or at the deadline. All times are seconds; ``at`` is Unix time.

An attempt: ``i`` its number, ``at`` its real start, ``lag`` how late that was, ``address``, ``port``, ``localAddress``,
``localPort`` (of a socket of the last phase), ``phase`` the last phase that it entered (resolve, connect, tls, send,
receive; of postgres connect, login, query; ``connected`` where nothing comes after the connection), ``error`` why it
failed there or null, ``detail``, ``sent`` whether any byte of the request was handed to the kernel, ``status``,
``headers`` (a few of the answer's), ``body`` (its first 256 bytes; the addresses that a name has), ``seconds`` for each
phase.
"""
