"""Laws of smoothing, steps to a loss, and speed-ups, on made-up curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unf_lopt.evaluation.speed import (
    SMOOTHING,
    interval,
    scores,
    smoothed,
    speedup_in_steps,
    steps_to_loss,
    to_target,
)

STEPS = np.arange(0, 210, 10)
losses = arrays.arrays(np.float64, len(STEPS), elements=st.floats(1e-3, 1e3))
rates = st.floats(0.01, 0.1)


@given(losses)
def test_smoothing_keeps_the_start_and_ends_at_the_mean_of_the_last(curve):
    found = smoothed(curve)
    assert found[0] == pytest.approx(curve[0])
    assert found[-1] == pytest.approx(np.exp(np.log(curve[-SMOOTHING:]).mean()))
    assert smoothed(-curve)[-1] == pytest.approx(-curve[-SMOOTHING:].mean())
    assert np.all((found >= curve.min() * (1 - 1e-9)) & (found <= curve.max() * (1 + 1e-9)))


@given(losses, st.floats(1e-3, 1e3))
def test_the_step_found_is_the_first_at_or_below_the_loss(curve, target):
    step = steps_to_loss(STEPS, curve, target)
    if step is None:
        assert curve.min() > target
    else:
        place = list(STEPS).index(step)
        assert curve[place] <= target
        assert np.all(curve[:place] > target)


@given(losses, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_a_lower_loss_is_never_reached_earlier(curve, low, high):
    low, high = sorted((low, high))
    late, early = steps_to_loss(STEPS, curve, low), steps_to_loss(STEPS, curve, high)
    assert late is None or (early is not None and early <= late)


@given(losses, losses)
def test_exchanging_the_two_inverts_the_speedup(ours, theirs):
    found, inverse = speedup_in_steps(STEPS, ours, theirs), speedup_in_steps(STEPS, theirs, ours)
    assert (found is None) == (inverse is None)
    assert found is None or found * inverse == pytest.approx(1.0)


@given(losses)
def test_a_curve_is_as_fast_as_itself(curve):
    found = speedup_in_steps(STEPS, curve, curve)
    assert found == 1.0 if curve[-1] < curve[0] else found is None


@given(rates)
def test_time_run_twice_as_fast_is_twice_as_fast(rate):
    theirs, ours = np.exp(-rate * STEPS), np.exp(-2 * rate * STEPS)
    assert speedup_in_steps(STEPS, ours, theirs) == 2.0


def test_seeds_that_agree_have_a_narrow_interval_and_few_seeds_have_none():
    theirs = np.exp(-0.02 * STEPS) * np.linspace(0.9, 1.1, 5)[:, None]
    ours = np.exp(-0.04 * STEPS) * np.linspace(0.9, 1.1, 5)[:, None]
    low, high = interval(STEPS, ours, theirs)
    assert 1.7 < low <= high < 2.3
    assert interval(STEPS, ours[:2], theirs[:2]) is None
    assert interval(STEPS, np.full_like(ours, np.nan), theirs) is None


@given(losses, st.sampled_from([np.nan, np.inf]))
def test_what_diverges_or_gets_nowhere_has_no_speedup(curve, end):
    curve = np.append(2 * curve.max(), curve[1:])  # one that gets somewhere
    diverged, stuck = curve.copy(), np.full(len(STEPS), curve[0])
    diverged[-1] = end
    assert speedup_in_steps(STEPS, diverged, curve) is None
    assert speedup_in_steps(STEPS, stuck, curve) is None
    assert steps_to_loss(STEPS, np.full(len(STEPS), np.nan), 1.0) is None


@given(rates, st.floats(1.0, 3.0))
def test_the_target_is_reached_as_many_times_sooner_as_the_curve_falls_faster(rate, times):
    spread = np.linspace(0.9, 1.1, 4)[:, None]
    theirs, ours = spread * np.exp(-rate * STEPS), spread * np.exp(-times * rate * STEPS)
    found = to_target(STEPS, ours, theirs)
    assert found.target == pytest.approx(smoothed(theirs.mean(axis=0))[-1])
    assert found.steps_interval[0] <= found.steps <= found.steps_interval[1]
    # A step is found to within the ten between two evaluations.
    assert found.steps == pytest.approx(STEPS[-1] / times, abs=10.1 + 10 * times)
    assert np.all(scores(STEPS, ours, theirs) >= 1)


@given(rates)
def test_what_never_gets_there_is_censored_and_scores_nothing(rate):
    theirs = np.ones((4, 1)) * np.exp(-rate * STEPS)
    found = to_target(STEPS, 0.5 + theirs, theirs)
    assert (found.steps, found.speedup, found.speedup_interval) == (None, 0.0, [0.0, 0.0])
    assert found.steps_interval == [None, None]
    assert np.all(scores(STEPS, 0.5 + theirs, theirs) == 0)
    assert to_target(STEPS, theirs, np.ones_like(theirs)) is None


def test_a_seed_on_which_the_other_diverged_counts_for_us_and_one_on_which_we_did_against():
    fine = np.ones((3, 1)) * np.exp(-0.02 * STEPS)
    lost = fine.copy()
    lost[1, -1] = np.nan
    assert scores(STEPS, fine, lost).tolist() == [1.0, STEPS[-1] / STEPS[1], 1.0]
    assert scores(STEPS, lost, fine).tolist() == [1.0, 0.0, 1.0]
    assert scores(STEPS, lost, lost).tolist() == [1.0, 1.0, 1.0]
