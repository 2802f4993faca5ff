"""Nominal terms, weight decay and clipping against optax, and where a gradient is zero."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.optimizers.problems import RECURRENT
from unf_lopt import ecosystem
from unf_lopt.optimizers import deep_sets, learned_sgdm


def inner_optimizer(lopt):
    return ecosystem.learned_optimizer(lopt).opt_fn(lopt.init(jax.random.PRNGKey(0)))


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({}, optax.sgd(0.05, momentum=0.8)),
        (
            {"momentum": "average"},
            optax.chain(optax.ema(0.8, debias=False), optax.scale_by_learning_rate(0.05)),
        ),
        ({"nominal": "adam"}, optax.adam(0.05, b1=0.7, b2=0.95, eps=1e-3)),
        (
            {"nominal": "adam", "weight_decay": 0.1},
            optax.adamw(0.05, b1=0.7, b2=0.95, eps=1e-3, weight_decay=0.1),
        ),
        (
            {"gradient_clip": 0.5},
            optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.05, momentum=0.8)),
        ),
        ({"gradient_clip": 500.0}, optax.sgd(0.05, momentum=0.8)),
    ],
    ids=["momentum", "average", "adam", "adamw", "clipped", "clipped where it is not needed"],
)
def test_without_a_functional_it_is_optaxs(options, reference):
    if options.get("nominal") == "adam":
        options |= {"initial_beta1": 0.7, "initial_beta2": 0.95, "initial_epsilon": 1e-3}
    else:
        options |= {"initial_gamma": 0.8}
    opt = inner_optimizer(learned_sgdm(initial_alpha=0.05, **options))
    params = RECURRENT.random(0)
    state, reference_state = opt.init(params), reference.init(params)
    for step in range(5):
        grad = RECURRENT.random(step + 1)
        state = opt.update(state, grad, loss=1.0)
        updates, reference_state = reference.update(grad, reference_state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.params, params
    )


def test_without_a_nominal_term_it_is_the_ecosystems_mlp_optimizer():
    """Ten steps of MLPLOpt and of ours with its weights, inputs and multipliers."""
    theirs = ecosystem.MLPLOpt(hidden_size=8, hidden_layers=2, compute_summary=False)
    ours = deep_sets(
        nominal="none",
        momentum="average",
        inputs="channel_rms",
        scalars="constant",
        hidden_channels=8,
        hidden_layers=2,
    )
    their_theta = theirs.init(jax.random.PRNGKey(0))
    layers = [dict(layer) for layer in their_theta.values()]
    # Their channels begin with gradient and parameter, ours with parameter and gradient.
    layers[0]["w"] = jnp.concatenate([layers[0]["w"][1::-1], layers[0]["w"][2:]])
    our_theta = ours.init(jax.random.PRNGKey(1))
    our_theta["functional"] = dict(zip(our_theta["functional"], layers, strict=True))
    opts = theirs.opt_fn(their_theta), ecosystem.learned_optimizer(ours).opt_fn(our_theta)
    # Ours clips the inputs to [-1, 1], theirs does not.
    small = jax.tree.map(lambda x: 0.1 * x, RECURRENT.random(0))
    states = [opt.init(small) for opt in opts]
    for step in range(10):
        grad = jax.tree.map(lambda x: 0.1 * x, RECURRENT.random(step + 1))
        states = [
            opt.update(state, grad, loss=1.0) for opt, state in zip(opts, states, strict=True)
        ]
    found, expected = (jax.tree.leaves(state.params) for state in states)
    moved = [np.abs(a - b).max() for a, b in zip(expected, jax.tree.leaves(small), strict=True)]
    assert max(moved) > 1e-4
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("nominal", ["momentum", "adam", "none"])
def test_the_step_can_be_differentiated_where_gradients_are_zero(nominal):
    correction = "absolute" if nominal == "none" else "relative"
    options = {"nominal": nominal, "correction": correction, "gradient_clip": 1.0}
    lopt = deep_sets(**options, hidden_channels=3, hidden_layers=1)
    params = RECURRENT.random(0)
    zero = jax.tree.map(jnp.zeros_like, params)

    def moved(theta):
        opt = ecosystem.learned_optimizer(lopt).opt_fn(theta)
        state = opt.update(opt.update(opt.init(params), zero), zero)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(state.params))

    gradient = jax.grad(moved)(lopt.init(jax.random.PRNGKey(0)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("nominal", ["momentum", "adam"])
def test_a_relative_correction_anneals_with_the_gradient(nominal):
    """Of gradients a thousand times as small it is as many times as small, as momentum is."""
    sizes = {}
    for scale in (1.0, 1e-3):
        moves = []
        for beta in (1e-3, 1e-9):
            opt = inner_optimizer(
                deep_sets(
                    nominal=nominal,
                    correction="relative",
                    inputs="channel_rms",
                    initial_beta=beta,
                    initial_alpha=1.0,
                )
            )
            grad = jax.tree.map(lambda g, scale=scale: scale * g, RECURRENT.random(1))
            state = opt.init(jax.tree.map(jnp.zeros_like, grad))
            moves.append(opt.update(state, grad, loss=1.0).params)
        sizes[scale] = optax.global_norm(jax.tree.map(jnp.subtract, *moves))
    ratio = float(sizes[1.0] / sizes[1e-3])
    assert (300 < ratio < 3000) if nominal == "momentum" else (0.3 < ratio < 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nominal": "lion"}, ValueError, r"nominal='lion'.*'momentum', 'adam', 'none'"),
        ({"nominal": "none"}, ValueError, "nothing is left"),
        ({"initial_beta2": 0.9}, ValueError, "nominal='momentum' has no beta2"),
        ({"nominal": "adam", "initial_gamma": 0.9}, ValueError, "nominal='adam' has no gamma"),
        ({"nominal": "adam", "initial_beta2": 1.0}, ValueError, "initial_beta2=1.0.*between 0 and"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay=-0.1"),
        ({"gradient_clip": 0.0}, ValueError, "gradient_clip=0.0: must be positive, or None"),
        ({"correction": "scaled"}, ValueError, r"correction='scaled'.*'absolute', 'relative'"),
        (
            {"correction": "relative", "nominal": "none"},
            ValueError,
            "leaves nothing to relate to",
        ),
        ({"frozen": "first"}, ValueError, r"frozen='first': pass a tuple of paths"),
        ({"learning_rate": 0.1}, TypeError, "unexpected keyword argument 'learning_rate'"),
    ],
)
def test_options_that_are_none(options, error, message):
    with pytest.raises(error, match=message):
        learned_sgdm(**options)
