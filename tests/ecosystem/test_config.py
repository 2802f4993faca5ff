"""gin: our includes and the ecosystem's flags on both versions."""

import importlib
import logging
import os

import gin
import jax
import pytest
from absl import flags
from absl.testing import flagsaver

from unf_lopt import ecosystem

_EXPERIMENT = """
include 'base/outer_training.gin'
LOPT = @LearnableSGDM()
TASK_FAMILY = @FixedDimQuadraticFamily()
FixedDimQuadraticFamily.dim = 3
OUTER_STEPS = 2
NUM_TASKS = 2
TRUNC_LENGTH = 4
HORIZON = 8
PES_STD = 0.01
STEPS_PER_JIT = 2
OUTER_LEARNING_RATE = 0.25
OUTER_GRADIENT_CLIP = 1.0
"""


@pytest.fixture(autouse=True)
def own_gin_and_flags():
    gin.clear_config()
    ecosystem.define_flags()
    # Modules of the ecosystem define flags too, which flagsaver would take away again.
    importlib.import_module("unf_lopt.ecosystem.configurables")
    with flagsaver.flagsaver():
        yield
    gin.clear_config()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "experiment.gin"
    path.write_text(_EXPERIMENT)
    return path


def _parse(*arguments, **kwargs):
    return ecosystem.parse_flags_and_config(["command", *arguments], **kwargs)


def test_flags_bring_the_config_and_override_it(config, tmp_path):
    directory = _parse(
        f"--config_file={config}",
        "--gin_bindings=PES_STD = 0.5",
        "--gin_bindings=NUM_TASKS=3",
        f"--train_log_dir={tmp_path}",
    )
    assert directory == str(tmp_path)
    (estimator,) = ecosystem.make_gradient_estimators(
        ecosystem.LearnableSGDM(), jax.random.PRNGKey(0), 1
    )
    assert estimator.std == 0.5
    assert estimator.trunc_length == 4
    assert ecosystem.task_name(estimator) == "FixedDimQuadraticFamily"
    of_step = estimator if ecosystem.version() == "release" else estimator.truncated_step
    assert of_step.num_tasks == 3
    assert of_step.random_initial_iteration_offset == 8
    assert of_step.task_family.datasets is None
    assert int(of_step.trunc_sched.init(jax.random.PRNGKey(0), None).length) == 8


def test_a_step_with_everything_from_gin(config):
    _parse(f"--config_file={config}")
    key = jax.random.PRNGKey(0)
    lopt = ecosystem.LearnableSGDM()
    learner = ecosystem.make_learner(lopt)
    estimators = ecosystem.make_gradient_estimators(lopt, key, 1)
    state = learner.init(key)
    weights = learner.get_state_for_worker(state)
    states = ecosystem.init_unroll_states(weights, estimators, key)
    gradient = ecosystem.compute_gradient(weights, estimators, states, key)
    state, _ = ecosystem.apply_gradient(learner, state, gradient, key)
    step = ecosystem.theta_of(learner, state)["log_lr"] - weights.theta["log_lr"]
    assert abs(step) == pytest.approx(0.25, rel=1e-3)  # Adam's first step: its learning rate


def test_the_ecosystems_own_loop_takes_the_same_config(config, tmp_path):
    """It moves all bindings to one scope, which would lose the macros."""
    _parse(f"--config_file={config}")
    ecosystem.run_train(str(tmp_path))
    assert ecosystem.has_checkpoint(str(tmp_path), "params_")
    assert "TruncatedPES.trunc_length = 4" in (tmp_path / "config.gin").read_text()


def test_macros_are_inlined_through_containers_and_macros(config):
    bindings = ["A=%B", "B=(1, [%HORIZON])", "LearnableSGDM.initial_lr={'x': %A}"]
    _parse(f"--config_file={config}", *[f"--gin_bindings={binding}" for binding in bindings])
    assert gin.query_parameter("LearnableSGDM.initial_lr") == {"x": (1, [8])}
    assert str(gin.query_parameter("run_train.lopt")) == "@LearnableSGDM()"
    assert gin.query_parameter("%HORIZON") == 8


def test_a_macro_without_value_is_an_error(config):
    config.write_text(_EXPERIMENT + "train.seed = %HORIZONS")
    with pytest.raises(ValueError, match="HORIZONS"):
        _parse(f"--config_file={config}")


def test_a_misspelt_name_is_an_error_unless_asked_for(config):
    misspelt = "--gin_bindings=TrunkatedPES.std=0.5"
    with pytest.raises(ValueError, match="TrunkatedPES"):
        _parse(f"--config_file={config}", misspelt)
    gin.clear_config()
    _parse(f"--config_file={config}", misspelt, skip_unknown=True)
    assert gin.query_parameter("TruncatedPES.std") == 0.01


def test_a_binding_that_is_none_is_an_error(config):
    with pytest.raises(ValueError, match="'PES_STD': expected NAME=VALUE"):
        _parse(f"--config_file={config}", "--gin_bindings=PES_STD")


def test_a_config_that_is_not_there_says_where_it_was_looked_for(caplog):
    with pytest.raises(OSError, match=r"missing\.gin") as error:
        _parse("--config_file=missing.gin")
    assert str(ecosystem.add_config_path()) in str(error.value)
    assert not caplog.records
    assert not logging.getLogger().filters


def test_configs_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = ecosystem.add_config_path()
    assert os.path.isfile(folder / ecosystem.version() / "ecosystem.gin")
    assert ecosystem.add_config_path() == folder
    _parse("--config_file=base/outer_training.gin", finalize=False)
    assert str(gin.query_parameter("GradientLearner.theta_opt")) == "@norm_clipped_adam()"


def test_flags_parsed_by_absl_are_read(config):
    flags.FLAGS(["command", f"--config_file={config}", "--gin_bindings=PES_STD=0.5"])
    assert ecosystem.parse_flags_and_config() is None
    assert gin.query_parameter("TruncatedPES.std") == 0.5


def test_verbosity_asked_for_is_kept(config):
    flags.FLAGS(["command", f"--config_file={config}", "--verbosity=1"])
    ecosystem.parse_flags_and_config()
    assert flags.FLAGS.verbosity == 1


def test_a_configuration_for_the_other_version_says_so_in_one_line():
    """Also where unknown names are skipped, as the ecosystem's `opt_from_checkpoint` does."""
    other = {"release": "main", "main": "release"}[ecosystem.version()]
    lines = [f"import unf_lopt.ecosystem.of_{other}", "GradientLearner.nothing = 3"]
    message = r"is for learned_optimization .*; here is .*take unf_lopt\.to_optax\(folder\)"
    with pytest.raises(RuntimeError, match=message):
        gin.parse_config(lines, skip_unknown=True)
