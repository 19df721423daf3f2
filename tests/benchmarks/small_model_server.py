"""A model file behind llama.cpp's OpenAI-compatible server, on loopback, until standard input closes: `small_model_server.py MODEL.gguf`.

Runs in the virtual environment that `bench_small_model.py` makes, not in that of rlgpt. The first line it prints is its address.
"""

import sys

import xllamacpp

CONTEXT = 8192
# With more, each waits for the others at every layer, which on a busy machine costs far more than it gains.
THREADS = 1


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.model_alias = {"small"}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel = CONTEXT, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.verbosity = 0
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


main()
