"""Laws of the statistics over tasks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unf_lopt.evaluation.aggregate import (
    THRESHOLDS,
    interquartile_mean,
    interquartile_mean_with_interval,
    performance_profile,
)

tables = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(3, 6)),
    elements=st.floats(0, 20),
)


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean(np.array([0.0, 1, 2, 3, 100, 4, 5, 6])) == 3.5


@given(tables)
def test_a_mean_lies_in_its_interval_and_among_the_scores(scores):
    middle, (low, high) = interquartile_mean_with_interval(scores)
    assert scores.min() - 1e-9 <= low <= high <= scores.max() + 1e-9
    assert scores.min() - 1e-9 <= middle <= scores.max() + 1e-9


@given(st.floats(0.1, 5))
def test_tasks_whose_seeds_agree_have_an_interval_of_no_width(score):
    """Seeds are drawn within tasks: that tasks differ is no uncertainty."""
    scores = score * np.arange(1.0, 5)[:, None] * np.ones(6)
    middle, interval = interquartile_mean_with_interval(scores)
    assert interval == pytest.approx([middle, middle])
    assert interquartile_mean_with_interval(scores[:, :2])[1] is None


@given(tables)
def test_a_profile_is_a_falling_share_within_its_band(scores):
    shares, (low, high) = performance_profile(scores)
    assert np.all(np.diff(shares) <= 0) and np.all((shares >= 0) & (shares <= 1))
    assert np.all(low <= high)
    counted = [(scores >= threshold).mean() for threshold in THRESHOLDS]
    np.testing.assert_allclose(shares, counted)
