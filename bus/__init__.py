"""The message bus: one totally ordered, durable log with named consumers, over ZeroMQ (docs/protocol.md).

Read in this order: `envelope` (what travels), `task` and `messages` (what it means), `codec` (bytes).
The broker: `core` with `clients`, `feeds`, `consumer`, `log`, `turn`, `gate` (no I/O), `journal` (what is on disk), `broker` (sockets, one
loop), `security` (keys).
The client: `session` with `inbox` (no I/O), `link` (the I/O thread), `subscription`, `client` and `aio` (its two faces).
"""
