"""The message bus: one totally ordered, durable log with named consumers, over ZeroMQ (docs/protocol.md).

Read in this order: `envelope` (what travels), `parts`, `models`, `task` and `messages` (what it means), `codec` (bytes).
The broker: `core` with `clients`, `feeds`, `consumer`, `log`, `turn`, `gate` (no I/O), `journal` with `segments` and `ids` (what is on
disk), `broker` (sockets, one loop), `security` (keys). `archive` and `compaction`: the journal for others, and afterwards.
The client: `session` with `inbox` and `calls` (no I/O), `link` (the I/O thread), `subscription`, `client` and `aio` (its two faces).
"""
