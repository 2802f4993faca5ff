"""NFN's weight spaces: what is a chain of layers, which axes are spatial, the paper's counts."""

import math

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

from tests.strategies import from_axes, mlp_spec
from unf_lopt import SpecError, count_maps, infer_spec
from unf_lopt.optimizers import nfn
from unf_lopt.optimizers.chains import spatial_apart


def classifier_spec(network, image_shape):
    """What inference finds in the cross-entropy of a Haiku network."""
    model = hk.without_apply_rng(hk.transform(network))
    images, labels = jnp.zeros((2, *image_shape)), jnp.zeros((2,), int)

    def loss(params, images, labels):
        logits = jax.nn.log_softmax(model.apply(params, images))
        return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], axis=1))

    params = jax.eval_shape(model.init, jax.random.key(0), images)
    return infer_spec(loss, params, images, labels)


def papers_cnn(images):
    """Two convolutions of 16 and 32 channels, global average pooling, a linear layer."""
    for channels in (16, 32):
        images = jax.nn.relu(hk.Conv2D(channels, 3)(images))
    return hk.Linear(10)(jnp.mean(images, axis=(1, 2)))


def flattening_cnn(images):
    images = jax.nn.relu(hk.Conv2D(4, 3, stride=2)(images))
    return hk.Linear(10)(hk.Flatten()(images))


def normalized_cnn(images):
    """Vectors besides biases along the channels of layers."""
    images = hk.Conv2D(4, 3, with_bias=False)(images)
    images = hk.LayerNorm(axis=(1, 2), create_scale=True, create_offset=True, param_axis=-1)(images)
    return hk.Linear(10)(jnp.mean(jax.nn.relu(images), axis=(1, 2)))


def theta_size(lopt):
    shapes = jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def spatial(spec):
    return sorted(spec.spaces.keys() - spatial_apart(spec).spaces.keys())


def test_the_papers_counts():
    """The pointwise layers have 2,752 parameters, α, β, γ0 are 3, a map has 32 coefficients."""
    mlp, cnn = mlp_spec((64, 32, 10)), classifier_spec(papers_cnn, (16, 16, 3))
    assert count_maps(spatial_apart(mlp)) == 32
    assert theta_size(nfn(spec=mlp)) == 2752 + 32 * 32 + 4 + 3 == 3783
    assert count_maps(spatial_apart(cnn)) == 1214
    assert theta_size(nfn(spec=cnn, bias="none")) == 2752 + 32 * 1214 + 3 == 41603
    # With biases, one for every spatial position: nine, nine, one, and three of vectors.
    assert theta_size(nfn(spec=cnn)) == 41603 + 22


def test_an_mlp_is_as_it_is():
    spec = mlp_spec((5, 4, 3, 2))
    assert spatial_apart(spec) == spec


def test_spatial_axes_of_convolutions():
    spec = classifier_spec(papers_cnn, (8, 8, 3))
    assert spatial(spec) == [
        "conv2_d/w:0",
        "conv2_d/w:1",
        "conv2_d_1/w:0",
        "conv2_d_1/w:1",
    ]
    assert spatial_apart(spec).shapes == spec.shapes
    assert spatial_apart(spec).groups == spec.groups


def test_spatial_axes_where_a_convolution_is_flattened():
    spec = classifier_spec(flattening_cnn, (6, 6, 1))
    assert spatial(spec) == ["conv2_d/w:0", "conv2_d/w:1", "linear/w:0.0"]
    apart = spatial_apart(spec)
    assert sum(path.startswith("linear/w") for path in apart.view.spec.paths) == 9


def test_scales_and_offsets_are_vectors_of_a_chain():
    spec = classifier_spec(normalized_cnn, (6, 6, 2))
    assert spatial(spec) == ["conv2_d/w:0", "conv2_d/w:1"]


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (("row", "column", "colour", "a"), ["column", "row"]),  # HWIO
        (("a", "colour", "row", "column"), ["column", "row"]),  # OIHW
        (("row", "colour", "a"), ["row"]),
        (("time", "row", "column", "colour", "a"), ["column", "row", "time"]),
    ],
)
def test_the_first_kernel_by_the_places_of_its_axes(axes, expected):
    sizes = {"row": 3, "column": 3, "time": 2, "colour": 3, "a": 4}
    fixed = set(axes) - {"a"}
    spec = from_axes({"kernel": axes, "bias": ("a",)}, fixed=fixed, sizes=sizes)
    assert spatial(spec) == expected


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({"w": ("a", "b"), "r": ("b", "b")}, "'r' leads from 'b' to itself, as in a recurrent"),
        ({"q": ("a", "b"), "k": ("a", "b"), "v": ("a", "c")}, "more than two weights meet in 'a'"),
        ({"w": ("a", "b"), "v": ("b", "c"), "skip": ("c", "a")}, "'w' closes a circle"),
        ({"w": ("a", "b"), "s": ()}, "'s' is a scalar"),
        ({"w": ("a", "b", "c")}, "'w' has 3 permutable axes"),
        (
            {"w": ("pixels", "a", "b"), "position": ("pixels",)},
            "'pixels' is a spatial axis of 'w' and has units in 'position'",
        ),
    ],
)
def test_what_is_no_chain_is_refused_by_name(names, reason):
    spec = from_axes(names, fixed={"pixels"} & {space for own in names.values() for space in own})
    with pytest.raises(SpecError, match=rf"nfn takes MLPs and CNNs.*{reason}.*Take unf"):
        nfn(spec=spec)
