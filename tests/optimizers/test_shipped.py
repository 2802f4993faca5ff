"""Every optimizer that the package ships does what it did when it was shipped."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unf_lopt
from unf_lopt.optimizers import card

# Losses after each ten of forty steps on the problem below, by name. A new theta needs a new line:
# what the failure prints.
GOLDEN: dict[str, list[float]] = {
    "digits_cnn": [0.2681, 0.116, 0.08487, 0.07992],
    "digits_mlp": [0.4682, 0.4102, 0.3942, 0.3926],
    "docs_rnn": [0.535, 0.4809, 0.4513, 0.4412],
    "docs_transformer": [0.6023, 0.5324, 0.5181, 0.5136],
    "universal": [0.4836, 0.4131, 0.3794, 0.3709],
    "universal_controller": [0.2182, 0.08159, 0.07402, 0.07146],
    "universal_generalizing": [0.1685, 0.07467, 0.07021, 0.06807],
    "universal_large": [0.1925, 0.08967, 0.07327, 0.07053],
}


def loss_fn(params, inputs, targets):
    hidden = jnp.tanh(inputs @ params["first"] + params["bias"])
    return jnp.mean((hidden @ params["last"] - targets) ** 2)


@jax.enable_x64(True)
def losses(name):
    """A dense network that learns a sine wave, with a shipped optimizer.

    In float64: while steps are large, roundings of float32 grow to a part of the loss.
    """
    inputs = jnp.linspace(-2, 2, 64)[:, None]
    targets = jnp.sin(3 * inputs)
    keys = jax.random.split(jax.random.PRNGKey(0))
    params = {
        "first": jax.random.normal(keys[0], (1, 16), "f4").astype(float),
        "bias": jnp.zeros(16),
        "last": jax.random.normal(keys[1], (16, 1), "f4").astype(float) / 4,
    }
    transformation = unf_lopt.to_optax(name, loss_fn, params, inputs, targets, num_steps=40)

    @jax.jit
    def step(params, state):
        value, gradient = jax.value_and_grad(loss_fn)(params, inputs, targets)
        updates, state = transformation.update(gradient, state, params, value=value)
        return optax.apply_updates(params, updates), state

    state, found = transformation.init(params), []
    for number in range(1, 41):
        params, state = step(params, state)
        if number % 10 == 0:
            found.append(float(loss_fn(params, inputs, targets)))
    return found


# Those of one weight space only cannot take the problem above; their cards are tested.
FOR_ANY = [name for name in unf_lopt.trained_optimizers() if unf_lopt.load(name).saved.spec is None]


@pytest.mark.parametrize("name", FOR_ANY)
def test_a_shipped_optimizer_behaves_as_it_did(name):
    found = losses(name)
    shown = [float(f"{loss:.4g}") for loss in found]
    message = f'where the theta or the step was changed on purpose: GOLDEN["{name}"] = {shown}'
    assert name in GOLDEN, message
    # While steps are large, compilers' roundings of theta's functional, which is in float32, grow:
    # early losses are compared less closely.
    for some, rtol in ((slice(3), 0.5), (slice(3, None), 0.1)):
        np.testing.assert_allclose(found[some], GOLDEN[name][some], rtol=rtol, err_msg=message)


@pytest.mark.parametrize("name", unf_lopt.trained_optimizers())
def test_a_shipped_optimizer_has_a_card_and_says_what_it_is(name):
    text, saved = card(name), unf_lopt.load(name).saved
    assert text.startswith("---\nlicense: apache-2.0") and f"# {name}" in text
    assert f"| outer steps | {saved.outer_steps:,} |" in text
    assert saved.training


def test_no_golden_line_is_of_what_is_not_shipped():
    assert set(GOLDEN) <= set(FOR_ANY)
