"""NATS JetStream: publications within a window; a durable push consumer with explicit acknowledgement for each consumer.

The client library's own `publish_async` makes a task and a future for every message (measured: 5,000 messages a second where counting
the acknowledgements by hand makes 12,500), so they are counted by hand.
"""

import asyncio

import nats
from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig
from role import BATCH, WINDOW, Role, body, opened

SUBJECT = "bench"


async def connect(role):
    connection = await nats.connect(f"nats://{role.address}")
    stream = connection.jetstream()
    await stream.add_stream(StreamConfig(name="BENCH", subjects=[SUBJECT], storage=StorageType.FILE))
    return connection, stream


class Publisher:
    def __init__(self, connection):
        self._connection, self._inbox = connection, connection.new_inbox()
        self._sent, self._acknowledged, self._answered = 0, 0, asyncio.Event()

    async def start(self):
        await self._connection.subscribe(self._inbox, cb=self._acknowledge)

    async def _acknowledge(self, answer):
        assert b'"error"' not in answer.data, answer.data
        self._acknowledged += 1
        self._answered.set()

    async def publish(self, data):
        await self.unacknowledged(WINDOW - 1)
        self._sent += 1
        await self._connection.publish(SUBJECT, data, reply=self._inbox)

    async def unacknowledged(self, most):
        """Waits until there are no more."""
        while self._sent - self._acknowledged > most:
            self._answered.clear()
            await self._answered.wait()


async def publish(role):
    connection, _ = await connect(role)
    publisher = Publisher(connection)
    await publisher.start()
    await role.start_async()
    while not role.is_done:
        for number, due in role.due(BATCH):
            await publisher.publish(body(number, due))
        await asyncio.sleep(role.next_s if role.per_s else 0)
    await publisher.unacknowledged(0)
    await role.end_async()


async def consume(role):
    _, stream = await connect(role)
    left, done = role.messages, asyncio.Event()

    async def arrived(message):
        nonlocal left
        role.got(opened(message.data))
        await message.ack()
        left -= 1
        if not left:
            done.set()

    config = ConsumerConfig(durable_name=role.name, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=WINDOW)
    await stream.subscribe(SUBJECT, durable=role.name, config=config, manual_ack=True, cb=arrived)
    await role.start_async()
    await done.wait()
    await role.end_async()


if __name__ == "__main__":
    role = Role.of_arguments()
    asyncio.run({"publish": publish, "consume": consume}[role.role](role))
