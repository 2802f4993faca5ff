"""Augmented tasks: the same functions of other parameters, and networks of drawn sizes."""

import math
import subprocess
import sys

import gin
import jax
import numpy as np
import pytest

from tests.configs import configure
from unf_lopt import ecosystem
from unf_lopt.commands import settings
from unf_lopt.ecosystem import config_text
from unf_lopt.tasks.augmentation import augmented, drawn_sizes, varied_families
from unf_lopt.tasks.image_cnn import digits_cnn_family
from unf_lopt.tasks.image_mlp import digits_mlp_family


def _scales(family, seed):
    values = family.sample(jax.random.PRNGKey(seed)).values["param_scale"]
    return np.array(jax.tree.leaves(values))


def test_the_function_is_the_same_and_scales_are_drawn_within_bounds():
    plain = digits_mlp_family()
    family = augmented(plain, log_scale=2.0)
    batch = next(family.datasets.train)
    losses, found, key = [], [], jax.random.PRNGKey(7)
    for own in (plain, family):
        task = own.task_fn(own.sample(jax.random.PRNGKey(3)))
        params, state = task.init_with_state(key)
        losses.append(float(task.loss_with_state(params, state, key, batch)[0]))
        found.append(params)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    drawn = np.array([_scales(family, seed) for seed in range(8)])
    assert np.ptp(np.log(drawn), axis=0).min() > 0.5 and np.ptp(np.log(drawn), axis=1).min() > 0
    assert np.abs(np.log(drawn)).max() <= 2.0
    whole = augmented(plain, level="global")
    assert _scales(whole, 0).size == 1


def test_the_symmetry_stays_as_it_is():
    plain = digits_mlp_family(hidden_sizes=(3, 4))
    assert ecosystem.spec_of(augmented(plain)) == ecosystem.spec_of(plain)
    assert augmented(plain).name == f"{plain.name}_Reparametrized"


def test_drawn_sizes_lie_in_their_ranges_and_repeat():
    found = drawn_sizes(count=20, widths=(4, 9), depths=(1, 3), seed=2)
    assert found == drawn_sizes(count=20, widths=(4, 9), depths=(1, 3), seed=2)
    assert found != drawn_sizes(count=20, widths=(4, 9), depths=(1, 3), seed=3)
    assert len(set(found)) == 20 and {len(own) for own in found} == {1, 2, 3}
    assert {4, 9} <= {width for own in found for width in own} <= set(range(4, 10))
    assert sorted(drawn_sizes(count=3, widths=(5, 7), depths=(1, 1))) == [(5,), (6,), (7,)]


def test_a_configuration_that_has_been_read_hinders_nothing():
    """In a process of its own: the ecosystem's modules register their names once."""
    program = """
import gin, unf_lopt.register
gin.parse_config_files_and_bindings([], ["augmented.task_family = @digits_mlp_family()"])
print(gin.get_configurable("augmented")().name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "ImageMLP_Digits8_Relu32_Reparametrized\n", done.stderr


def test_gin_trains_on_augmented_networks_of_drawn_sizes():
    configure(
        "train.task_families = @augmented()",
        "augmented.task_family = @varied_families()",
        "varied_families.family = @digits_mlp_family",
        "varied_families.option = 'hidden_sizes'",
        "varied_families.values = @drawn_sizes()",
        "drawn_sizes.count = 3",
    )
    settings.check(config_text.current())  # as the command does
    families = gin.query_parameter("train.task_families").scoped_configurable_fn()
    shapes = [ecosystem.params_shapes(own)["mlp/~/linear_0"]["b"].shape for own in families]
    assert shapes == [own[:1] for own in drawn_sizes(count=3)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augmented(digits_mlp_family(), log_scale=0.0), r"log_scale=0\.0"),
        (lambda: augmented(digits_mlp_family(), log_scale=math.inf), "log_scale=inf"),
        (lambda: augmented(digits_mlp_family(), level="entry"), "level='entry'"),
        (lambda: augmented([digits_mlp_family(), 3]), "task_family=int"),
        (lambda: augmented("digits_mlp_family"), "task_family=str"),
        (lambda: varied_families(digits_mlp_family, "hidden_sizes", ()), "at least one value"),
        (lambda: varied_families(digits_mlp_family, "hidden_sizes", 3), "at least one value"),
        (
            lambda: varied_families(digits_mlp_family, "hidden_sizes", (3,)),
            r"digits_mlp\(hidden_sizes=3\)",
        ),
        (lambda: varied_families(digits_cnn_family, "channels", (3,)), r"channels=3\)"),
        (lambda: varied_families(digits_mlp_family, "sizes", ((3,),)), r"one of \['hidden_sizes'"),
        (lambda: drawn_sizes(depths=(1,)), r"depths=\(1,\)"),
        (lambda: drawn_sizes(widths=(8, 4)), r"widths=\(8, 4\)"),
        (lambda: drawn_sizes(depths=(0, 4)), r"depths=\(0, 4\)"),
        (lambda: drawn_sizes(count=4, widths=(5, 7), depths=(1, 1)), "from 1 to 3"),
    ],
)
def test_options_that_are_none(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
