"""The rlgpt bus: `serve ADDRESS JOURNAL KEYS` is its broker, the rest as `role` says; KEYS is a folder of CURVE keys, or "-"."""

import logging
import signal
import sys
import threading
import time
from pathlib import Path

import structlog
from role import WINDOW, Role, sample_fields

from rlgpt.bus.broker import Broker
from rlgpt.bus.client import BusClient
from rlgpt.bus.envelope import fresh_ids, seal
from rlgpt.bus.messages import ModelAsked
from rlgpt.bus.security import ClientKeys, Security


def serve(address, journal, keys):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    broker = Broker(address, Path(journal), security=None if keys == "-" else Security(Path(keys)))
    broker.run(stop)


def connect(role):
    keys = role.options[0]
    client = BusClient(role.address, role.name, credentials=None if keys == "-" else ClientKeys.load(Path(keys) / f"{role.name}.json"))
    client.start()
    return client


def publish(role):
    client, ids = connect(role), fresh_ids()
    role.start()
    while not role.is_done:
        for number, due in role.due(WINDOW):
            client.publish_nowait(seal(ModelAsked(**sample_fields(number, due)), id=next(ids), source=role.name))
        if role.per_s:
            time.sleep(role.next_s)
    client.flush(120)
    role.end()


def consume(role):
    client = connect(role)
    subscription = client.subscribe(role.name, ["model.asked"], credit=WINDOW)
    role.start()
    for _ in range(role.messages):
        delivery = subscription.get(120)
        role.got(delivery.envelope.message())
        delivery.ack()
    role.end()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        role = Role.of_arguments()
        {"publish": publish, "consume": consume}[role.role](role)
