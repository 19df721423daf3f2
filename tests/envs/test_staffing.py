"""How a pool is staffed, and whether its processes look or sleep while they wait: decisions, without processes."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from rlgpt.envs.patience import LONGEST_S, Patience
from rlgpt.envs.space import fold
from rlgpt.envs.staffing import batch_s, staff

QUICK, SLOW = 10e-6, 5e-3


def test_quick_steps_are_not_worth_waking_a_second_worker_and_slow_ones_are():
    assert staff(2, QUICK, cores=2).workers == 1
    assert staff(8, SLOW, cores=2).workers == 2
    assert staff(8, SLOW, cores=4).workers == 4
    assert staff(3, SLOW, cores=16).workers == 3


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("environments", [1, 2, 7, 8, 100])
@pytest.mark.parametrize("decision_s", [1e-6, 1e-5, 1e-4, 1e-2])
def test_choice_is_the_quickest_there_is_and_holds_every_environment(cores, environments, decision_s):
    chosen = staff(environments, decision_s, cores)
    assert 1 <= chosen.workers <= min(cores, environments)
    assert (chosen.workers - 1) * chosen.each < environments <= chosen.workers * chosen.each
    for workers in range(1, min(cores, environments) + 1):
        assert batch_s(chosen, decision_s) <= batch_s(staff(environments, decision_s, cores, workers), decision_s)


def test_as_many_workers_as_were_asked_for_but_none_without_an_environment():
    assert staff(8, QUICK, cores=2, workers=3).workers == 3
    assert staff(8, QUICK, cores=2, workers=3).each == 3
    assert staff(8, QUICK, cores=2, workers=5).workers == 4  # two each
    assert staff(2, QUICK, cores=2, workers=5).workers == 2


@pytest.mark.parametrize(("workers", "cores", "look"), [(1, 2, 1), (2, 2, 1), (1, 1, 0), (2, 1, 0), (2, 3, 2), (4, 4, 3), (4, 3, 2)])
def test_so_many_workers_look_as_have_a_core_beside_the_parents(workers, cores, look):
    assert staff(8, QUICK, cores, workers).look == look


def test_who_may_not_look_never_does():
    patience = Patience(may_look=False)
    assert not patience.looks()
    assert not patience.look(lambda: True)


def test_long_waits_end_the_looking_and_short_ones_begin_it_again():
    patience = Patience(may_look=True)
    assert patience.looks()
    assert patience.look(lambda: True)
    for _ in range(50):
        patience.waited(1.0)
    assert not patience.looks()
    assert not patience.look(lambda: True)
    for _ in range(50):
        patience.waited(LONGEST_S / 10)
    assert patience.looks()


def test_looking_ends_by_itself():
    assert not Patience(may_look=True).look(lambda: False)


def test_folded_observations_are_freed_as_soon_as_they_are_dropped():
    box = {"type": "Box", "shape": [4], "dtype": "float32", "low": 0.0, "high": 1.0}
    gc.collect()
    gc.disable()
    try:
        for space in (box, {"type": "Dict", "spaces": [["a", box], ["b", {"type": "Tuple", "spaces": [box]}]]}):
            fold(space, [np.zeros(4), np.ones(4)][: 1 if space is box else 2])
        assert gc.collect() == 0
    finally:
        gc.enable()
