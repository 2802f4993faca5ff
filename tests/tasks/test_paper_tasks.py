"""The paper's tasks on offline data: tasks of the ecosystem, trainable, with their symmetry."""

import math

import gin
import jax
import numpy as np
import pytest

from tests import paper_specs
from tests.symmetry.zoo import tables
from tests.symmetry.zoo.case import read_table
from tests.symmetry.zoo.compare import difference
from unf_lopt import PermutationSpec, SymmetryError, count_maps, ecosystem
from unf_lopt.register import deep_sets, learned_sgdm, unf
from unf_lopt.tasks import data, image_cnn, rnn_lm, transformer_lm

KEY = jax.random.PRNGKey(0)
NAMES = ("digits_cnn", "docs_rnn", "docs_transformer")
every_task = pytest.mark.parametrize("name", NAMES)

# With as many kinds of axis, where sizes do not matter.
SMALL = {
    "digits_cnn": {"channels": (3, 4), "batch_size": 8},
    "docs_rnn": {"embedding_size": 3, "hidden_size": 4, "length": 5, "batch_size": 6},
    "docs_transformer": {"num_blocks": 1, "width": 4, "num_heads": 2, "batch_size": 2},
}

# Loss after 100 steps of Adam at 1e-2, and the share of correct answers on other data: what such
# networks reach with room to spare, and far from what guessing gives.
LEARNED = {
    "digits_mlp": (0.3, 0.85),
    "digits_cnn": (1.0, 0.6),
    "docs_rnn": (3.0, 0.2),
    "docs_transformer": (3.2, 0.15),
}


@pytest.fixture(scope="module")
def families():
    return {name: gin.get_configurable(f"{name}_family")() for name in NAMES}


@pytest.fixture(scope="module")
def specs(families):
    return {name: ecosystem.spec_of(family) for name, family in families.items()}


def task_of(family):
    return family.task_fn(family.sample(KEY))


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


# ------------------------------------------------------------------------------------ the tasks
@every_task
def test_the_ecosystem_accepts_it(families, name):
    ecosystem.load("tasks.test_utils").smoketest_task_family(families[name])


def ecosystems_own(name, datasets):
    """The ecosystem's classes for such tasks, on the same data."""
    if name == "digits_cnn":
        module = ecosystem.load("tasks.fixed.conv")
        loss = module._cross_entropy_pool_loss([16, 32], jax.nn.relu, num_classes=10)
        return module._ConvTask(loss, datasets)
    language = ecosystem.load_language_module()
    if name == "docs_rnn":
        irnn = ecosystem.load("tasks.rnn").IRNN
        module = ecosystem.load("tasks.fixed.rnn_lm")
        return module.TeacherForcedRNNLM(lambda: irnn(64), 32, None, datasets)
    module = ecosystem.load("tasks.fixed.transformer_lm")
    published = language.lm1b_32k_datasets
    language.lm1b_32k_datasets = lambda batch_size, length: datasets
    try:
        return module.TransformerLM_LM1B_MultiRuntime_2()
    finally:
        language.lm1b_32k_datasets = published


@every_task
def test_it_is_the_ecosystems_task_of_these_sizes(families, name):
    task = task_of(families[name])
    own = ecosystems_own(name, task.datasets)
    params = own.init(KEY)
    assert shapes(params) == shapes(task.init(KEY))
    for batch in (task.datasets.train.batch(0), task.datasets.test.batch(1)):
        np.testing.assert_allclose(
            task.loss(params, KEY, batch), own.loss(params, KEY, batch), rtol=1e-5
        )


def test_batches_have_the_papers_sizes(families):
    found = {
        name: {part: x.shape for part, x in family.datasets.abstract_batch.items()}
        for name, family in families.items()
    }
    assert found == {
        "digits_cnn": {"image": (128, 8, 8, 1), "label": (128,)},
        "docs_rnn": {"obs": (64, 16), "target": (64, 16)},
        "docs_transformer": {"obs": (8, 8), "target": (8, 8)},
    }


def test_the_recurrent_matrix_starts_as_the_identity(families):
    params = task_of(families["docs_rnn"]).init(KEY)
    np.testing.assert_array_equal(params["irnn/linear_1"]["w"], np.eye(64))


@every_task
def test_the_normalized_loss_is_finite_and_at_most_a_half_more_than_guessing(families, name):
    task = task_of(families[name])
    classes = 10 if name == "digits_cnn" else 259
    top = 1.5 * math.log(classes)
    losses = np.asarray([0.5, top + 1, -1.0, np.inf, np.nan], np.float32)
    np.testing.assert_allclose(task.normalizer(losses), [0.5, top, 0, top, top], rtol=1e-6)


@pytest.mark.parametrize("name", LEARNED)
def test_adam_learns_it(name):
    """With random windows of another seed, and on data that it was not trained on."""
    task = gin.get_configurable(name)(data_seed=1)
    optimizer = ecosystem.Adam(1e-2)

    @jax.jit
    def step(state, batch):
        loss, gradient = jax.value_and_grad(task.loss)(optimizer.get_params(state), KEY, batch)
        return optimizer.update(state, gradient, loss=loss), loss

    state, losses = optimizer.init(task.init(KEY), num_steps=100), []
    for _ in range(100):
        state, loss = step(state, next(task.datasets.train))
        losses.append(float(loss))
    trained, accuracy = LEARNED[name]
    assert np.mean(losses[-10:]) < trained < losses[0]
    batches = [next(task.datasets.outer_valid) for _ in range(2 if "digits" in name else 20)]
    aux = [task.loss_and_aux(optimizer.get_params(state), KEY, batch)[1] for batch in batches]
    assert np.mean([found["accuracy"] for found in aux]) > accuracy


@pytest.mark.parametrize(
    "call",
    [
        lambda: image_cnn.digits_cnn(channels=(16, 0)),
        lambda: rnn_lm.docs_rnn(hidden_size=2.0),
        lambda: rnn_lm.docs_rnn(embedding_size=-1),
        lambda: transformer_lm.docs_transformer(num_heads="4"),
        lambda: transformer_lm.docs_transformer(num_blocks=0),
    ],
)
def test_sizes_that_are_none_are_an_error(call):
    with pytest.raises(ValueError, match=r"(channels|size|heads|blocks)=.*positive integers"):
        call()


# --------------------------------------------------------------------------------------- by gin
@pytest.mark.parametrize(
    ("named", "sized"),
    [
        ("Conv_Digits8_16x32", "digits_cnn"),
        ("RNNLM_docsbytes_Patch16_IRNN64_Embed32", "docs_rnn"),
        ("TransformerLM_docsbytes_Patch8_2layer_32width", "docs_transformer"),
    ],
)
def test_gin_knows_it_by_two_names(families, named, sized):
    found = ecosystem.named_task_family(named)
    assert found.name == families[sized].name == named
    assert ecosystem.params_shapes(found) == ecosystem.params_shapes(families[sized])
    assert found.datasets.abstract_batch == families[sized].datasets.abstract_batch


def test_gin_sizes_the_task_and_its_family():
    gin.parse_config("""
        docs_rnn.length = 5
        docs_rnn.hidden_size = 6
        docs_rnn_family.hidden_size = 7
    """)
    assert gin.get_configurable("docs_rnn")().name == "RNNLM_docsbytes_Patch5_IRNN6_Embed32"
    family = gin.get_configurable("docs_rnn_family")()
    assert family.name == "RNNLM_docsbytes_Patch5_IRNN7_Embed32"
    with pytest.raises(ValueError, match="no_size"):
        gin.parse_config("docs_rnn_family.no_size = 1")


@every_task
def test_each_task_has_readers_of_its_own(families, name):
    reader = families[name].datasets.train
    position = reader.position
    other = gin.get_configurable(f"{name}_family")(data_seed=1).datasets.train
    part = "label" if name == "digits_cnn" else "obs"
    assert not np.array_equal(next(other)[part], reader.batch(0)[part])
    assert (reader.position, other.position) == (position, 1)


# ----------------------------------------------------------------------------------- symmetries
TABLES = {
    "digits_cnn": tables.conv_net(2)[0],
    "docs_rnn": tables.recurrent_language_model("irnn"),
    "docs_transformer": tables.transformer_language_model(2, dropped=False),
}


@every_task
def test_the_symmetry_is_what_a_person_writes_down(families, specs, name):
    names, fixed = read_table(TABLES[name])
    sizes = {"keys_0": 32, "keys_1": 32, "values_0": 32, "values_1": 32}
    sizes = sizes if name == "docs_transformer" else {}
    shapes = ecosystem.params_shapes(families[name])
    expected = PermutationSpec.from_names(names, shapes, fixed, sizes)
    assert difference(specs[name], expected) == ""


@every_task
def test_the_symmetry_holds_in_double_precision(families, specs, name):
    before = ecosystem.positions(families[name].datasets)
    verified = ecosystem.verify_spec_of(families[name], specs[name], maximality=False)
    assert verified.certified
    assert verified.change < 1e-12
    assert ecosystem.positions(families[name].datasets) == before


def check_maximality(family):
    verified = ecosystem.verify_spec_of(family, ecosystem.spec_of(family))
    assert verified.certified
    assert verified.maximal in ("maximal", "not refuted")


@every_task
def test_no_symmetry_is_lacking(name):
    check_maximality(gin.get_configurable(f"{name}_family")(**SMALL[name]))


@pytest.mark.slow
@every_task
def test_no_symmetry_is_lacking_in_the_papers_sizes(families, name):
    check_maximality(families[name])


@pytest.fixture(scope="module")
def cifar_family():
    """The paper's CNN on images of CIFAR's shape at 16x16."""
    random = np.random.default_rng(0)
    images = {
        "image": random.random((8, 16, 16, 3), dtype=np.float32),
        "label": random.integers(0, 10, 8, dtype=np.int32),
    }
    datasets = data.array_datasets(dict.fromkeys(ecosystem.SPLITS, images), 4, num_classes=10)
    return ecosystem.single_task_to_family(image_cnn.ImageCNN(datasets, (16, 32)))


def published(names, family, fixed=()):
    """A spec of the paper's for a task of ours."""
    return PermutationSpec.from_names(names, ecosystem.params_shapes(family), fixed)


def coefficients(spec):
    theta = jax.eval_shape(unf(spec=spec).init, KEY)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(theta))


def test_the_paper_meant_the_cnns_true_symmetry(cifar_family):
    """5,513 coefficients; with the slip in its spec, which is no symmetry, the paper has 7,369."""
    found = ecosystem.spec_of(cifar_family)
    meant = published(paper_specs.cnn_names(), cifar_family, paper_specs.CNN_FIXED)
    assert difference(found, meant) == ""
    assert coefficients(found) == coefficients(meant) == 5513
    slip = published(paper_specs.cnn_names(with_slip=True), cifar_family)
    assert coefficients(slip) == 7369
    with pytest.raises(SymmetryError):
        ecosystem.verify_spec_of(cifar_family, slip, maximality=False)


def test_the_papers_rnn_ties_two_axes_that_the_loss_does_not(families, specs):
    """The vocabulary of the embedding and that of the logits: six basis maps more."""
    family, found = families["docs_rnn"], specs["docs_rnn"]
    paper = published(paper_specs.rnn_names(), family, paper_specs.RNN_FIXED)
    assert difference(found, paper, fixed_ties=False) == ""
    assert ecosystem.verify_spec_of(family, paper, maximality=False).certified
    assert (coefficients(paper), coefficients(found)) == (8043, 7851)
    assert count_maps(paper) - count_maps(found) == 6


def test_the_papers_transformer_has_other_groups_than_the_true_ones(families, specs):
    family = families["docs_transformer"]
    paper = published(paper_specs.transformer_names(), family, paper_specs.TRANSFORMER_FIXED)
    with pytest.raises(SymmetryError):
        ecosystem.verify_spec_of(family, paper, maximality=False)
    assert (coefficients(paper), coefficients(specs["docs_transformer"])) == (64168, 81128)


@every_task
@pytest.mark.parametrize("make", [unf, deep_sets, learned_sgdm])
def test_every_optimizer_is_built_on_it(families, name, make):
    lopt = make(task_family=families[name])
    theta = jax.eval_shape(lopt.init, KEY)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(theta))
    of_unf = {"digits_cnn": 5257, "docs_rnn": 7851, "docs_transformer": 81128}
    assert count == {unf: of_unf[name], deep_sets: 2788, learned_sgdm: 2}[make]
