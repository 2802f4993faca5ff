"""The zoo: what inference finds is what a person wrote down, and it holds on numbers."""

import contextlib
import dataclasses
import json
import sys

import jax
import numpy as np
import pytest

from benchmarks import symmetry_zoo
from tests.symmetry.zoo.case import CannotBeBuilt
from tests.symmetry.zoo.catalogue import CASES
from tests.symmetry.zoo.compare import difference, symmetries_beyond
from tests.symmetry.zoo.ecosystem import ecosystem_cases, stand_in_data
from unf_lopt import PermutationSpec, SymmetryError, ecosystem, verify_spec
from unf_lopt.symmetry.inference import infer_traced, state_spec, trace_loss

BY_NAME = {case.name: case for case in CASES}
# One of each kind; the others take longer than tests should.
QUICK = [
    "libraries/haiku_batch_norm",
    "mlp/gated",
    "convolution/flattened",
    "convolution/shuffled_groups",
    "recurrent/stacked_with_skips",
    "attention/grouped_query_by_repeating",
    "attention/rotary",
    "randomness/variational_autoencoder_given_noise",
    "training/inner_training",
    "training/parameters_in_one_vector",
    "structure/integer_table",
    "algebra/time_constants_in_blocks",
    "algebra/identity_beside_weights",
]
# No unit of these is like another one.
WITHOUT_GROUPS = {"masked_weights", "ordered_features", "diagonal_of_decays"}


def check_inferred(name, problem):
    traced = trace_loss(problem.loss_fn, problem.params, problem.args, **problem.loss_options)
    spec = infer_traced(traced, randomness=problem.randomness).spec
    expected = problem.expected
    if problem.not_found:
        assert not symmetries_beyond(spec, expected), f"{name}: not sound\n{spec}"
        message = f"{name}: inference finds everything now; remove its not_found."
        assert symmetries_beyond(expected, spec), message
    else:
        lines = difference(spec, expected, problem.check_fixed_ties)
        assert not lines, f"{name}\n{lines}\nfound:\n{spec}\nexpected:\n{expected}"
    assert PermutationSpec.from_json(spec.to_json()) == spec
    if problem.expected_state is not None:
        found = state_spec(traced, expected)
        lines = difference(found, problem.expected_state, fixed_ties=False)
        assert not lines, f"state of {name}\n{lines}\nfound:\n{found}"


@pytest.mark.parametrize("name", BY_NAME)
def test_inferred_is_what_was_written_down(name):
    problem = BY_NAME[name].build()
    assert bool(problem.expected.groups) == (name.split("/")[1] not in WITHOUT_GROUPS)
    check_inferred(name, problem)


def check_on_numbers(name):
    problem = BY_NAME[name].build()
    arguments = (problem.expected, problem.loss_fn, problem.params, *problem.args)
    if problem.randomness != "frozen":
        with pytest.raises(SymmetryError):  # it holds in distribution, not for one key
            verify_spec(*arguments, **problem.loss_options)
        found = verify_spec(
            *arguments, **problem.loss_options, randomness=problem.randomness, maximality=False
        )
        assert found.certified, found
        return
    found = verify_spec(*arguments, **problem.loss_options)
    assert found.certified, found
    assert found.maximal in ("maximal", "not refuted"), found
    assert set(found.without_effect) == set(problem.without_effect), found


@pytest.mark.parametrize("name", QUICK)
def test_tables_hold_on_numbers_and_are_maximal(name):
    check_on_numbers(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - set(QUICK)))
def test_the_other_tables_hold_on_numbers_and_are_maximal(name):
    check_on_numbers(name)


# ------------------------------------------------------------------ the ecosystem's tasks
def ecosystem_problems(wanted):
    for case in ecosystem_cases(samples=1):
        if wanted(case.name):
            with contextlib.suppress(CannotBeBuilt):
                yield case.name, case.build()


@pytest.mark.parametrize(
    "name",
    [
        "fixed_conv/Conv_Cifar10_32x64x64_batchnorm",
        "fixed_image_mlp/ImageMLP_Cifar10_128x128_Dropout05_Relu_MSE",
        "fixed_resnet/Resnet_MultiRuntime_0",
        "fixed_rnn_lm/RNNLM_lm1bbytes_Patch32_LSTM128_Embed64",
        "fixed_transformer_lm/TransformerLM_LM1B_MultiRuntime_2",
        "parametric_lm_rnn/sample_lm_rnn",
    ],
)
def test_a_task_of_the_ecosystem(name):
    ((found, problem),) = ecosystem_problems(lambda other: other == f"ecosystem/{name}")
    check_inferred(found, problem)


@pytest.mark.slow
def test_every_task_of_the_ecosystem():
    names = []
    for name, problem in ecosystem_problems(lambda _: True):
        check_inferred(name, problem)
        names.append(name)
    assert len(names) > 80


def test_the_stand_in_for_data_leaves_nothing_behind():
    base = ecosystem.load("tasks.datasets.base")
    before = dict(vars(base))
    with stand_in_data():
        assert hasattr(np, "product")
        assert dict(vars(base)) != before
    assert dict(vars(base)) == before
    assert not hasattr(np, "product")
    assert "seqio" not in sys.modules


# ------------------------------------------------------------------ the comparison itself
SHAPES = {
    "w": jax.ShapeDtypeStruct((4, 6), "float32"),
    "v": jax.ShapeDtypeStruct((6, 4), "float32"),
}


def spec_of(w, v, fixed=(), **sizes):
    return PermutationSpec.from_names({"w": w, "v": v}, SHAPES, fixed=fixed, sizes=sizes)


REFERENCE = spec_of(("a", "b*c"), ("b*c", "a"), b=2, c=3)


@pytest.mark.parametrize(
    ("w", "v", "options"),
    [
        (("x", "y*z"), ("y*z", "x"), {"y": 2, "z": 3}),
        (("a", "(b)*c"), ("1*b*c", "a"), {"b": 2, "c": 3}),
    ],
)
def test_names_and_notation_do_not_matter(w, v, options):
    assert not difference(spec_of(w, v, **options), REFERENCE)


def test_a_concatenation_of_alike_parts_may_be_written_as_a_product():
    as_product = spec_of(("a", "[2]*c"), ("[2]*c", "a"), fixed={"[2]"}, c=3)
    assert not difference(as_product, spec_of(("a", "c + c"), ("c + c", "a")), fixed_ties=False)


@pytest.mark.parametrize(
    ("w", "v", "options"),
    [
        (("a", "c*b"), ("c*b", "a"), {"b": 2, "c": 3}),  # minor and major exchanged
        (("a", "b*c"), ("b*c", "d"), {"b": 2, "c": 3}),  # finer
        (("a", "b"), ("b", "a"), {}),  # freer
        (("a", "b*c"), ("b*c", "a"), {"b": 2, "c": 3, "fixed": {"a"}}),
        (("a", "b*c"), ("b*c", "a"), {"b": 2, "c": 3, "fixed": {"b"}}),
        (("a", "b"), ("b", "a"), {"fixed": {"a", "b"}}),
        (("a", "b*c"), ("d*c", "a"), {"b": 2, "c": 3, "d": 2}),
        (("a", "c + c"), ("c + c", "a"), {}),
    ],
)
def test_the_comparison_tells_other_groups(w, v, options):
    other = spec_of(w, v, **options)
    assert difference(other, REFERENCE, fixed_ties=False)
    assert difference(REFERENCE, other, fixed_ties=False)


def test_the_comparison_tells_ties_of_fixed_axes():
    tied = spec_of(("p", "h"), ("h", "p"), fixed={"p"})
    apart = spec_of(("p", "h"), ("h", "q"), fixed={"p", "q"})
    assert "not tied" in difference(apart, tied)
    assert "tied" in difference(tied, apart)
    assert not difference(tied, apart, fixed_ties=False)


def test_a_wrong_table_is_refuted_on_numbers():
    problem = BY_NAME["attention/rotary"].build()
    wrong = dataclasses.replace(problem, fixed=problem.fixed - {"width"})
    with pytest.raises(SymmetryError, match="width"):
        verify_spec(wrong.expected, wrong.loss_fn, wrong.params, *wrong.args)


# ------------------------------------------------------------------ the command
def test_the_command_writes_its_table(tmp_path, capsys):
    output = tmp_path / "zoo.json"
    symmetry_zoo.main(["--only", "mlp/relu", "packed_by", f"--output={output}"])
    rows = {row["case"]: row for row in json.loads(output.read_text())["results"]}
    assert rows["mlp/relu"]["agrees"] == "yes"
    assert rows["mlp/relu"]["maximal"] == "maximal"
    assert rows["attention/packed_by_reshape"]["agrees"].startswith("a part: ")
    assert output.with_suffix(".md").read_text() == capsys.readouterr().out
