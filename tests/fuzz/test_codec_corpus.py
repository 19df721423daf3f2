"""The inputs that coverage-guided fuzzing of the codec has found, played back (fuzz_codec.py finds more)."""

from __future__ import annotations

import random

from fuzz_codec import check, corpus, mutate

from rlgpt.bus.codec import FROM_CLIENT, attributes, unpack_from_client
from rlgpt.bus.errors import Malformed


def test_every_input_of_the_corpus_is_refused_or_survives_a_round_trip():
    for data in corpus():
        check(data)


def test_mutants_of_the_corpus_are_refused_or_survive_a_round_trip():
    chance, inputs, mutants = random.Random(0), corpus(), 0
    for _ in range(5000):
        try:
            mutant = mutate(chance.choice(inputs), chance)
        except (ValueError, TypeError, OverflowError, RecursionError):
            continue  # this input is no msgpack map
        check(mutant)
        mutants += 1
    assert mutants > 1000


def test_corpus_holds_good_frames_of_every_op_and_bad_ones():
    ops, envelopes, refused = set(), 0, 0
    for data in corpus():
        try:
            ops.add(unpack_from_client(data)["op"])
        except Malformed:
            refused += 1
        try:
            attributes(data)
            envelopes += 1
        except Malformed:
            pass
    assert ops == set(FROM_CLIENT)
    assert envelopes
    assert refused
