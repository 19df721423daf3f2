"""Redis Streams: XADD in pipelines; a consumer group for each consumer, XREADGROUP and XACK in one round trip."""

import time

import redis
from role import BATCH, Role, body, opened

STREAM = "bench"


def connect(role):
    host, port = role.address.split(":")
    return redis.Redis(host, int(port))


def publish(role):
    client = connect(role)
    client.ping()
    role.start()
    while not role.is_done:
        pipeline = client.pipeline(transaction=False)
        for number, due in role.due(BATCH):
            pipeline.xadd(STREAM, {"source": role.name, "body": body(number, due)})
        pipeline.execute()
        if role.per_s:
            time.sleep(role.next_s)
    role.end()


def consume(role):
    client = connect(role)
    client.xgroup_create(STREAM, role.name, id="0", mkstream=True)
    role.start()
    left, answered = role.messages, []
    while left:
        pipeline = client.pipeline(transaction=False)
        if answered:
            pipeline.xack(STREAM, role.name, *answered)
        pipeline.xreadgroup(role.name, role.name, {STREAM: ">"}, count=BATCH, block=5000)
        found = pipeline.execute()[-1]
        answered = []
        for number, fields in found[0][1] if found else ():
            role.got(opened(fields[b"body"]))
            answered.append(number)
        left -= len(answered)
    client.xack(STREAM, role.name, *answered)
    role.end()


if __name__ == "__main__":
    role = Role.of_arguments()
    {"publish": publish, "consume": consume}[role.role](role)
