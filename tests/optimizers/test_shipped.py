"""Every optimizer that the package ships does what it did when it was shipped."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import unf_lopt
from unf_lopt.optimizers import card

# Geometric means of the losses of each ten of forty steps on the problem below, by name. A new
# theta needs a new line: what the failure prints.
GOLDEN: dict[str, list[float]] = {
    "digits_cnn": [0.4438, 0.1296, 0.08783, 0.08036],
    "digits_cnn_pointwise": [0.4101, 0.1298, 0.08911, 0.08379],
    "digits_mlp": [0.4737, 0.1609, 0.08971, 0.0791],
    "digits_mlp_pointwise": [0.5785, 0.2106, 0.1142, 0.0849],
    "docs_rnn": [0.4668, 0.1696, 0.09439, 0.07901],
    "docs_rnn_pointwise": [0.5165, 0.2462, 0.1292, 0.09739],
    "docs_transformer": [0.6678, 0.4202, 0.2258, 0.1181],
    "docs_transformer_pointwise": [0.6622, 0.4042, 0.2269, 0.1298],
    "universal": [0.5673, 0.4408, 0.3919, 0.3732],
    "universal_controller": [0.4331, 0.1443, 0.07652, 0.07257],
    "universal_generalizing": [0.3823, 0.1495, 0.073, 0.06897],
    "universal_large": [0.435, 0.1419, 0.0755, 0.07212],
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
    for _ in range(40):
        params, state = step(params, state)
        found.append(float(loss_fn(params, inputs, targets)))
    return scipy.stats.gmean(np.reshape(found, (4, 10)), axis=1).tolist()


# Those of one weight space only cannot take the problem above; their cards are tested.
FOR_ANY = [name for name in unf_lopt.trained_optimizers() if unf_lopt.load(name).saved.spec is None]


@pytest.mark.parametrize("name", FOR_ANY)
def test_a_shipped_optimizer_behaves_as_it_did(name):
    found = losses(name)
    shown = [float(f"{loss:.4g}") for loss in found]
    message = f'where the theta or the step was changed on purpose: GOLDEN["{name}"] = {shown}'
    assert name in GOLDEN, message
    # While steps are large, compilers' roundings of theta's functional, which is in float32, grow:
    # a loss can double, its mean over ten steps changes by an eighth, after twenty by a tenth.
    for some, rtol in ((slice(2), 0.3), (slice(2, None), 0.2)):
        np.testing.assert_allclose(found[some], GOLDEN[name][some], rtol=rtol, err_msg=message)


@pytest.mark.parametrize("name", unf_lopt.trained_optimizers())
def test_a_shipped_optimizer_has_a_card_and_says_what_it_is(name):
    text, saved = card(name), unf_lopt.load(name).saved
    assert text.startswith("---\nlicense: apache-2.0") and f"# {name}" in text
    assert f"| outer steps | {saved.outer_steps:,} |" in text
    assert saved.training


def test_no_golden_line_is_of_what_is_not_shipped():
    assert set(GOLDEN) <= set(FOR_ANY)
