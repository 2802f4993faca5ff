"""Every config of the package is read and built."""

import pathlib

import gin
import jax
import pytest

import unf_lopt.register
from unf_lopt import SpecError, ecosystem, evaluation
from unf_lopt.optimizers import from_description, load_theta
from unf_lopt.tasks.suite import LARGE

FOLDER = pathlib.Path(unf_lopt.__file__).parent / "gin"
EXPERIMENTS = sorted(path.name for path in FOLDER.glob("*.gin"))
OPTIMIZERS = sorted(unf_lopt.register.OPTIMIZERS)
FUNCTIONAL = ("unf", "deep_sets", "nfn", "learned_sgdm", "unf_universal")
# What reads the paper's data, and what says that they are missing.
PREPARED = {
    "fashion_mnist_mlp": ("fashion_mnist", "ImageMLP_Digits8_Relu32"),
    "cifar10_cnn": ("cifar10", "Conv_Digits8_16x32"),
    "lm1b_rnn": ("lm1b", "RNNLM_docsbytes_Patch16_IRNN64_Embed32"),
    "lm1b_transformer": ("lm1b", "TransformerLM_docsbytes_Patch8_2layer_32width"),
}
SMALL, CONTROLLER = "small.gin", "controller.gin"
MIXED, FINETUNE = "mixed.gin", "finetune.gin"
AFTER = {SMALL, CONTROLLER, MIXED, FINETUNE}  # go with every experiment
EVALUATED = HELD_OUT, HELD_OUT_LARGE = "held_out.gin", "held_out_large.gin"  # not trained
PREPARED_CONFIGS = [f"{name}.gin" for name in PREPARED]
OFFLINE_CONFIGS = sorted({*EXPERIMENTS} - {*PREPARED_CONFIGS, *AFTER, *EVALUATED})
TRAINED = sorted(path.stem for path in (FOLDER / "trained").glob("*.gin"))
# Kinds of task that they are trained on, if not one.
COUNTS = {
    "universal": 4,
    "universal_controller": 23,
    "universal_controller_long": 23,
    "universal_controller_narrow": 11,
    "universal_controller_powers": 20,
    "universal_controller_wide": 20,
    "universal_generalizing": 23,
    "universal_large": 11,
    "universal_large_start": 7,
    "universal_large_wide": 7,
}


def read(config, *bindings, small=False):
    gin.clear_config()
    configs = [config, SMALL] if small else [config]
    gin.parse_config_files_and_bindings(configs, bindings)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("config", "small"),
    [*((config, False) for config in OFFLINE_CONFIGS), ("digits_mlp.gin", True)],
)
def test_builds_with_every_optimizer(config, small, optimizer):
    read(config, f"LOPT = @{optimizer}()", small=small)
    if optimizer == "nfn" and config.startswith("docs_"):
        with pytest.raises(SpecError, match="nfn"):
            gin.get_bindings("train")
        return
    lopt = gin.get_bindings("train")["lopt"]
    assert lopt.name == optimizer
    jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
    (estimator,) = ecosystem.make_gradient_estimators(lopt, jax.random.PRNGKey(0), 1)
    assert estimator.trunc_length == 50
    assert ecosystem.positions(ecosystem.task_family_of(estimator).datasets) is not None
    ecosystem.make_learner(lopt)


@pytest.mark.parametrize("name", TRAINED)
def test_what_shipped_optimizers_were_trained_with(name):
    read(f"trained/{name}.gin")
    bound = gin.get_bindings("train")
    estimators = ecosystem.make_gradient_estimators(
        bound["lopt"],
        jax.random.PRNGKey(0),
        1,
        bound.get("task_families", ()),
        bound["estimator_fn"],
    )
    assert len(estimators) == COUNTS.get(name, 1)
    assert all(type(own).__name__ == "HorizonES" for own in estimators)


@pytest.mark.parametrize("name", unf_lopt.trained_optimizers())
def test_a_shipped_optimizer_is_what_fine_tuning_starts_from(name):
    gin.clear_config()
    gin.parse_config_files_and_bindings(["digits_cnn.gin", FINETUNE], [f"THETA = {name!r}"])
    bound = gin.get_bindings("train")
    saved = unf_lopt.load(name).saved
    # What the file does not say, as it was before there was an option, is the option's default.
    described = from_description(saved.optimizer).description()
    assert bound["lopt"].maker.description() == described
    theta, outer_steps = load_theta(bound["init_theta_from"], bound["lopt"])
    assert outer_steps == saved.outer_steps and jax.tree.leaves(theta)
    (estimator,) = ecosystem.make_gradient_estimators(
        bound["lopt"], jax.random.PRNGKey(0), 1, (), bound["estimator_fn"]
    )
    assert estimator.horizons.longest == 200


def test_a_theta_of_another_optimizer_says_whose_it_is():
    read("digits_mlp.gin", "LOPT = @mixed_step()")
    with pytest.raises(ValueError, match=r"has controller/.*It is of unf_controller.*trained"):
        load_theta("universal_controller", gin.get_bindings("train")["lopt"])


@pytest.mark.parametrize(
    ("config", "horizon"),
    [("digits_mlp", 2000), ("digits_cnn", 2000), ("docs_rnn", 2000), ("docs_transformer", 5000)],
)
def test_the_papers_settings(config, horizon):
    read(f"{config}.gin", "LOPT = @learned_sgdm()")
    lopt = gin.get_bindings("train")["lopt"]
    (estimator,) = ecosystem.make_gradient_estimators(lopt, jax.random.PRNGKey(0), 1)
    of_step = estimator if ecosystem.version() == "release" else estimator.truncated_step
    assert (of_step.num_tasks, estimator.trunc_length, estimator.std) == (16, 50, 0.01)
    assert gin.query_parameter("train.num_steps") == 50000
    assert gin.query_parameter("norm_clipped_adam.max_norm") == 1.0
    assert gin.query_parameter("ConstantTruncationSchedule.total_length") == horizon


@pytest.mark.parametrize("optimizer", FUNCTIONAL)
def test_small_binds_the_options_of_every_optimizer(optimizer):
    read("digits_mlp.gin", f"LOPT = @{optimizer}()", small=True)
    assert gin.query_parameter("train.num_steps") == gin.query_parameter("%OUTER_STEPS")
    assert gin.query_parameter("%OUTER_STEPS") == 2000
    options = gin.get_bindings("train")["lopt"].maker.options
    assert (options.inputs, options.correction) == ("channel_rms", "relative")
    assert options.gradient_clip == 1.0
    assert options.scalars.initial.get("beta", 0.1) == 0.1
    read("digits_mlp.gin", f"LOPT = @{optimizer}()", f"{optimizer}.inputs = 'raw'", small=True)
    assert gin.get_bindings("train")["lopt"].maker.options.inputs == "raw"


@pytest.mark.parametrize("config", PREPARED_CONFIGS)
def test_what_reads_the_papers_data_says_at_once_that_they_are_missing(
    config, tmp_path, monkeypatch
):
    import tensorflow_datasets as tfds

    # What TFDS_DATA_DIR sets, which is read when TensorFlow Datasets is imported.
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    read(config)
    with pytest.raises(FileNotFoundError) as error:
        gin.get_bindings("train")
    dataset, stand_in = PREPARED[config.removesuffix(".gin")]
    for part in (dataset, "TFDS_DATA_DIR", str(tmp_path), stand_in):
        assert part in str(error.value)


def test_a_spec_written_in_a_config_wins():
    read(
        "digits_mlp.gin",
        "unf.spec = @spec_from_names()",
        "spec_from_names.task_family = %TASK_FAMILY",
        "spec_from_names.axes = {'mlp/~/linear_0': {'w': ('p', 'h'), 'b': ('h',)},"
        " 'mlp/~/linear_1': {'w': ('h', 'c'), 'b': ('c',)}}",
        "spec_from_names.fixed = ('p',)",
    )
    assert gin.get_bindings("train")["lopt"].spec.groups == {"c": 10, "h": 32}


def test_the_held_out_suite_is_what_its_config_evaluates_on():
    read(HELD_OUT)
    bound = gin.get_bindings("evaluate")
    assert len(bound["tasks"]) >= 30 and bound["num_seeds"] >= 10
    assert bound["horizon"] % 10 == 0
    assert not gin.get_bindings("train")


def test_the_large_tasks_are_what_their_config_evaluates_on():
    read(HELD_OUT_LARGE)
    bound = gin.get_bindings("evaluate")
    assert [family.name for family in bound["tasks"]] == list(LARGE)
    assert len(bound["baselines"]) > 1 and bound["horizon"] % bound["eval_every"] == 0


def test_an_evaluation_of_a_training_config_is_on_its_task_and_horizon():
    read("trained/docs_rnn.gin", "evaluate.eval_every = 10")
    evaluation.bind_training_config()
    bound = gin.get_bindings("evaluate")
    assert (bound["horizon"], bound["eval_every"]) == (200, 10)
    assert bound["task_family"].name == "RNNLM_docsbytes_Patch16_IRNN64_Embed32"
    # What an evaluation says of itself stays.
    read("trained/docs_rnn.gin", "evaluate.horizon = 30", "evaluate.tasks = @held_out()")
    evaluation.bind_training_config()
    bound = gin.get_bindings("evaluate", resolve_references=False)
    assert bound["horizon"] == 30 and "task_family" not in bound
    read(HELD_OUT)
    before = gin.get_bindings("evaluate", resolve_references=False)
    evaluation.bind_training_config()
    assert gin.get_bindings("evaluate", resolve_references=False) == before
