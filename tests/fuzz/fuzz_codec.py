"""Coverage-guided fuzzing of the codec, with atheris (`pip install -e '.[fuzz]'`): `python tests/fuzz/fuzz_codec.py --seconds 60`.

It starts from the inputs in corpus.hex, one a line, which test_codec_corpus.py plays back in the normal test suite. With `--keep` those it
ends with take their place. A failure ends it with the input: put that into corpus.hex, and the suite fails until it is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgpack

CORPUS = Path(__file__).with_name("corpus.hex")
LONGEST_WHY = 1000
LONGEST_INPUT = 4096
ODD = [
    None,
    True,
    -1,
    0,
    1,
    2**53 - 1,
    2**53,
    2**64 - 1,
    1e308,
    float("nan"),
    "",
    "x",
    "*",
    "a.*",
    "\n",
    "x" * 257,
    b"",
    b"\x80",
    [],
    [[1, 1]],
    {},
]


def check(data: bytes) -> None:
    """What must hold for any bytes: they are refused in a few words, or mean the same after another round trip."""
    from rlgpt.bus.codec import FROM_CLIENT, pack, unpack, unpack_from_client
    from rlgpt.bus.errors import Malformed

    try:
        frame = unpack_from_client(data)
    except Malformed as error:
        _check_words(error)
        frame = {}
    if frame:
        assert frame["op"] in FROM_CLIENT
        # Bytes are compared, not values: a field nobody knows may hold a NaN, which equals nothing.
        assert pack(unpack_from_client(pack(frame))) == pack(frame)
        assert unpack(data)["op"] == frame["op"]
        for raw in frame.get("events", ()):
            _check_envelope(raw)
    _check_envelope(data)


def _check_words(error: Exception) -> None:
    assert 0 < len(str(error)) <= LONGEST_WHY


def _check_envelope(raw: bytes) -> None:
    from rlgpt.bus.codec import attributes, decode, encode
    from rlgpt.bus.errors import Malformed

    try:
        fields = attributes(raw)
    except Malformed as error:
        _check_words(error)
        return
    envelope = decode(raw)  # what a broker has let in, every client can read
    assert decode(encode(envelope)) == envelope
    assert attributes(encode(envelope)).id == fields.id == envelope.id


def corpus() -> list[bytes]:
    return [bytes.fromhex(line) for line in CORPUS.read_text().split()]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Another value somewhere in the map: what byte-wise mutation, which mostly breaks msgpack, hardly ever finds."""
    value = msgpack.unpackb(data, raw=False, strict_map_key=False)
    if not isinstance(value, dict) or not value:
        raise ValueError("nothing to change")
    _change(value, chance)
    packed: bytes = msgpack.packb(value)
    return packed


def _change(value: dict[Any, Any], chance: random.Random) -> None:
    field = chance.choice(list(value))
    there = value[field]
    match chance.randrange(4):
        case 0:
            del value[field]
        case 1 if isinstance(there, dict) and there:
            _change(there, chance)
        case 1 | 2 if isinstance(there, list) and there:
            there[chance.randrange(len(there))] = chance.choice(ODD)
        case _:
            value[field] = chance.choice(ODD)


def fuzz(folder: Path, seconds: int) -> None:
    """Never returns: libFuzzer ends the process, with a status other than 0 after a failure."""
    import atheris

    with atheris.instrument_imports(include=["rlgpt.bus.codec"]):
        import rlgpt.bus.codec  # noqa: F401

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % 2:
            try:
                changed = mutate(data, random.Random(seed))
            except (ValueError, TypeError, OverflowError, RecursionError):
                pass  # no msgpack map: bytes then
            else:
                if len(changed) <= max_size:
                    return changed
        mutated: bytes = atheris.Mutate(data, max_size)
        return mutated

    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", "-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1"]
    prefix = f"-artifact_prefix={folder.parent}/"
    atheris.Setup([sys.argv[0], str(folder), prefix, *limits], check, custom_mutator=mutator)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", action="store_true", help="write the inputs found to corpus.hex")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        fuzz(given.folder, given.seconds)
    known = corpus()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "corpus"
        folder.mkdir()
        for data in known:
            (folder / hashlib.sha256(data).hexdigest()).write_bytes(data)
        command = [sys.executable, __file__, "--folder", str(folder), "--seconds", str(given.seconds)]
        status = subprocess.run(command, check=False, env=os.environ).returncode
        found = sorted({path.read_bytes() for path in folder.iterdir()}, key=lambda data: (len(data), data))
        for path in Path(scratch).glob("*-*"):
            print(f"failing input: {path.read_bytes().hex()}")
    print(f"{len(known)} inputs at first, {len(found)} at the end, {given.seconds} s")
    if given.keep and status == 0:
        CORPUS.write_text("".join(f"{data.hex()}\n" for data in found if data))
    return status


if __name__ == "__main__":
    sys.exit(main())
