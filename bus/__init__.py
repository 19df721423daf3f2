"""The message bus: one totally ordered, durable log with named consumers, over ZeroMQ.

Read in this order: `envelope` (what travels), `task` and `messages` (what it means), `codec` (bytes),
`core` (the broker without I/O), `journal` (what is on disk), `broker` (sockets and one loop), `client`.
"""
