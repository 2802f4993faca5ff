"""One theta for several task families: trained, resumed, and used on an architecture not seen."""

import csv
import shutil

import gin
import jax
import numpy as np
import pytest

from tests.configs import configure
from tests.evaluation.reference import learned_curves
from unf_lopt import ecosystem, evaluation
from unf_lopt.evaluation.protocol import Protocol
from unf_lopt.optimizers import load_theta, read_theta
from unf_lopt.outer_training import train
from unf_lopt.register import unf, unf_universal
from unf_lopt.tasks.image_mlp import digits_mlp, digits_mlp_family
from unf_lopt.tasks.rnn_lm import docs_rnn_family
from unf_lopt.tasks.transformer_lm import docs_transformer_family

SMALL = (
    "TASK_FAMILIES = [@one/digits_mlp_family(), @two/digits_mlp_family(), @digits_cnn_family()]",
    "unf_universal.hidden_layers = 1",
    "one/digits_mlp_family.hidden_sizes = (4,)",
    "two/digits_mlp_family.hidden_sizes = (3, 5)",
    "digits_cnn_family.channels = (2, 3)",
    "digits_cnn_family.batch_size = 8",
    "unseen/digits_mlp_family.hidden_sizes = (6, 2, 3)",
)
# An MLP and a CNN are enough to train on: each family is compiled by itself.
TRAINING = (
    "TASK_FAMILIES = [@one/digits_mlp_family(), @digits_cnn_family()]",
    "OUTER_STEPS = 2",
    "train.save_every_seconds = 0.0",
)
PROTOCOL = Protocol(num_seeds=2, horizon=4, eval_every=2, eval_batches=1)


def configure_universal(*bindings):
    configure(*SMALL, *bindings, config="universal.gin")


def universal(**options):
    small = {"hidden_channels": 4, "hidden_layers": 1}
    return unf_universal(**small, inputs="channel_rms", initial_beta=0.01, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two outer steps, with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("universal")
    configure_universal(*TRAINING)
    train(str(folder))
    return folder


@pytest.mark.slow
def test_resumed_ends_where_an_uninterrupted_run_does(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    for later in tmp_path.glob("*_2"):
        later.unlink()
    configure_universal(*TRAINING)
    train(str(tmp_path))
    for name in ("params_2", "unroll_2"):
        assert (trained / name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert (trained / "params_1").read_bytes() != (trained / "params_2").read_bytes()
    with open(tmp_path / "metrics.csv", newline="") as file:
        losses = [float(row["meta_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 2 and np.all(np.isfinite(losses))


def test_every_family_has_an_estimator_of_its_own_with_the_optimizer_bound_to_it():
    configure_universal()
    families = gin.get_bindings("train")["task_families"]
    lopt = gin.get_bindings("train")["lopt"]
    estimators = ecosystem.make_gradient_estimators(lopt, jax.random.PRNGKey(0), 1, families)
    assert [ecosystem.task_name(own) for own in estimators] == [
        "ImageMLP_Digits8_Relu4",
        "ImageMLP_Digits8_Relu3x5",
        "Conv_Digits8_2x3",
    ]
    for own, family in zip(estimators, families, strict=True):
        step = own if ecosystem.version() == "release" else own.truncated_step
        assert step.learned_opt.spec == unf(family).spec


def test_theta_belongs_to_no_weight_space_and_loads_on_any(trained):
    assert read_theta(trained).spec is None
    for source in (None, digits_mlp_family((4,)), digits_mlp((7, 6))):
        lopt = universal(task_family=source)
        _, step = load_theta(trained, lopt)
        assert step == 2
    with pytest.raises(ValueError, match="not written by this unf on this weight space"):
        load_theta(trained, unf(digits_mlp_family((4,)), hidden_channels=4))


def test_evaluates_on_an_architecture_never_seen(trained):
    """With what the run's own configuration gives to python -m unf_lopt.evaluate."""
    evaluation.bind_run(trained)
    family = gin.get_bindings("evaluate")["task_family"]
    assert family.name == "ImageMLP_Digits8_Relu6x2x3"
    found = evaluation.Trained.load(trained).on(family)
    curves = learned_curves(family, found.lopt, found.theta, PROTOCOL)
    assert curves.loss["train"].shape == (2, 3) and np.all(np.isfinite(curves.loss["train"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        docs_rnn_family(embedding_size=3, hidden_size=4, length=5, batch_size=6),
        docs_transformer_family(num_blocks=1, width=4, num_heads=2, batch_size=2),
    ],
    ids=lambda family: family.name,
)
def test_goes_from_mlps_and_cnns_to_a_recurrent_network_and_a_transformer(trained, family):
    found = evaluation.Trained.load(trained).on(family)
    curves = learned_curves(family, found.lopt, found.theta, PROTOCOL)
    losses = curves.loss["train"]
    assert np.all(np.isfinite(losses)) and np.all(losses[:, -1] != losses[:, 0])


def test_a_theta_for_one_weight_space_is_refused_for_several(tmp_path):
    configure_universal("LOPT = @unf()")
    with pytest.raises(ValueError, match=r"unf has a theta for one weight space.*unf_universal"):
        train(str(tmp_path))


def test_unbound_it_says_how_to_bind():
    lopt = universal()
    theta = lopt.init(jax.random.PRNGKey(0))
    with pytest.raises(ValueError, match=r"unf_universal is not bound.*lopt\.bind\(spec\)"):
        lopt.opt_fn(theta)


def test_optimizers_of_the_ecosystem_and_those_without_a_spec_take_any_families():
    configure_universal()
    families = [digits_mlp((4,), 16), digits_mlp_family((3, 5), 16)]
    for lopt in (ecosystem.LearnableSGDM(), gin.get_configurable("deep_sets")()):
        key = jax.random.PRNGKey(0)
        estimators = ecosystem.make_gradient_estimators(lopt, key, 2, families)
        assert len(estimators) == 4
