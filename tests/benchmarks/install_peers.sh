#!/bin/sh
# Installs what bench_bus_peers.py compares the bus with, into build/peers: nothing of it touches the project's own environment.
#
#   Redis, NATS    servers from the Debian archive, where they are missing and apt-get may install (otherwise: left out)
#   clients        redis and nats-py in build/peers/clients, with the project's pydantic and msgpack
#   AutoGen        autogen-ext[grpc] in build/peers/autogen, an environment of its own: it conflicts with the project's `autogen`
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}

missing=
for server in redis-server nats-server; do
    command -v "$server" > /dev/null || missing="$missing $server"
done
if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    if command -v apt-get > /dev/null; then
        # Debian would start them as services; the benchmark starts its own, with its own settings.
        $sudo apt-get update -q
        $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends $missing
    else
        echo "not installed:$missing (no apt-get here; install them by hand to have them compared)" >&2
    fi
fi

environment() {  # name, packages...
    [ -x "build/peers/$1/bin/python" ] || "$PYTHON" -m venv "build/peers/$1"
    name=$1
    shift
    "build/peers/$name/bin/python" -m pip install --quiet "$@"
}

environment clients "redis[hiredis]==5.2.1" "nats-py==2.9.0" "pydantic>=2.7" "msgpack>=1.0.7"
environment autogen "autogen-ext[grpc]==0.7.5" "pydantic>=2.7" "msgpack>=1.0.7"
