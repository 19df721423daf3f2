"""AutoGen's distributed runtime: `serve ADDRESS` is its host, the rest as `role` says. It has no acknowledgements and keeps nothing."""

import asyncio
import signal
import sys

from autogen_core import MessageContext, RoutedAgent, TopicId, TypeSubscription, message_handler, try_get_known_serializers_for_type
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost
from role import BATCH, Role, Sample, sample_fields

TOPIC = TopicId("bench", "all")  # one source: AutoGen makes an agent for each


class Counter(RoutedAgent):
    def __init__(self, role, done):
        super().__init__("counts")
        self._role, self._left, self._done = role, role.messages, done

    @message_handler
    async def counted(self, message: Sample, ctx: MessageContext) -> None:
        self._role.got(message)
        self._left -= 1
        if not self._left:
            self._done.set()


async def serve(address):
    host = GrpcWorkerAgentRuntimeHost(address)
    host.start()
    print("ready", flush=True)
    await host.stop_when_signal(signals=(signal.SIGTERM,))


async def connect(role):
    runtime = GrpcWorkerAgentRuntime(host_address=role.address)
    runtime.add_message_serializer(try_get_known_serializers_for_type(Sample))
    await runtime.start()
    return runtime


async def publish(role):
    runtime = await connect(role)
    await role.start_async()
    while not role.is_done:
        for number, due in role.due(BATCH):
            await runtime.publish_message(Sample(**sample_fields(number, due)), TOPIC)
        await asyncio.sleep(role.next_s if role.per_s else 0)
    await role.end_async()


async def consume(role):
    runtime, done = await connect(role), asyncio.Event()
    await Counter.register(runtime, role.name, lambda: Counter(role, done))
    await runtime.add_subscription(TypeSubscription(TOPIC.type, role.name))
    await role.start_async()
    await done.wait()
    await role.end_async()


async def main():
    if sys.argv[1] == "serve":
        await serve(sys.argv[2])
    else:
        role = Role.of_arguments()
        await {"publish": publish, "consume": consume}[role.role](role)


if __name__ == "__main__":
    asyncio.run(main())
