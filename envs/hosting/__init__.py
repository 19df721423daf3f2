"""Environments that run outside the locked workers, in an interpreter of their own: the side that holds the environment.

Whatever needs files, sockets, a JVM or an old Python lives here. This package needs Python >= 3.9, numpy, msgpack and, to serve other
machines, pyzmq; nothing else of rlgpt, which need not be installed there: `python3.9 .../envs/hosting serve ...` runs it from its folder.

    frames.py   messages on a byte stream              slot.py     one process that holds one environment
    spaces.py   spaces and observations as data        slots.py    starts slot processes, lends and restarts them
    adapter.py  gymnasium, or any gym, as one API      serve.py    lends them to other machines
    pipe.py     a stream's end that never blocks       curve.py    keys
"""
