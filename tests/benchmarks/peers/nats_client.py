"""NATS JetStream: asynchronous publications within a window; a durable push consumer with explicit acknowledgement for each consumer."""

import asyncio

import nats
from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig
from role import BATCH, WINDOW, Role, body, opened

SUBJECT = "bench"


async def connect(role):
    connection = await nats.connect(f"nats://{role.address}")
    stream = connection.jetstream(publish_async_max_pending=WINDOW)
    await stream.add_stream(StreamConfig(name="BENCH", subjects=[SUBJECT], storage=StorageType.FILE))
    return stream


async def publish(role):
    stream = await connect(role)
    await role.start_async()
    while not role.is_done:
        for number, due in role.due(BATCH):
            await stream.publish_async(SUBJECT, body(number, due), wait_stall=60)
        await asyncio.sleep(role.next_s if role.per_s else 0)
    await stream.publish_async_completed()
    await role.end_async()


async def consume(role):
    stream = await connect(role)
    config = ConsumerConfig(durable_name=role.name, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=WINDOW)
    subscription = await stream.subscribe(SUBJECT, durable=role.name, config=config, manual_ack=True)
    await role.start_async()
    for _ in range(role.messages):
        message = await subscription.next_msg(120)
        role.got(opened(message.data))
        await message.ack()
    await role.end_async()


if __name__ == "__main__":
    role = Role.of_arguments()
    asyncio.run({"publish": publish, "consume": consume}[role.role](role))
