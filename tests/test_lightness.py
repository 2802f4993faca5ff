"""Who wants a layer waits neither for the ecosystem nor for TensorFlow."""

import json
import subprocess
import sys

import pytest

import unf_lopt

# Not Flax: Haiku imports it by itself where it is installed.
HEAVY = (
    "tensorflow",
    "keras",
    "sklearn",
    "learned_optimization",
    "tensorflow_datasets",
    "matplotlib",
)

# A theta that is written, read and used in an optax loop: a user's program without the ecosystem.
USE = """
import jax, jax.numpy as jnp, pathlib, tempfile
import unf_lopt, unf_lopt.optimizers

def loss_fn(params):
    return jnp.sum((jnp.tanh(params["w"]) @ params["v"]) ** 2)

params = {"w": jnp.ones((3, 2)), "v": jnp.ones(2)}
lopt = unf_lopt.optimizers.unf(spec=unf_lopt.infer_spec(loss_fn, params), hidden_channels=4)
theta = lopt.init(jax.random.key(0))
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "theta_7.safetensors")
    path.write_bytes(unf_lopt.optimizers.theta_data(theta, lopt, 7, {}))
    transformation = unf_lopt.to_optax(path, loss_fn, params)
state = transformation.init(params)
updates, _ = transformation.update(jax.grad(loss_fn)(params), state, params)
assert jnp.any(updates["w"] != 0)
"""


def run(code):
    """What a program prints, in a process of its own."""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


LOADED = f"import json, sys\nprint(json.dumps([n for n in {HEAVY} if n in sys.modules]))"


def test_a_layer_costs_no_import_of_the_ecosystem():
    names = "unf_lopt.UNFLinear, unf_lopt.PermutationSpec, unf_lopt.count_maps"
    assert json.loads(run(f"import unf_lopt\n{names}\n{LOADED}")) == []


def test_a_theta_in_an_optax_loop_costs_no_import_of_the_ecosystem():
    assert json.loads(run(f"{USE}\n{LOADED}")) == []


def test_a_theta_in_an_optax_loop_needs_no_package_of_the_ecosystem():
    """Flax included: `None` in place of a module makes its import fail."""
    absent = (*HEAVY, "flax")
    run(f"import sys\nsys.modules |= dict.fromkeys({absent})\n{USE}")


@pytest.mark.parametrize("name", unf_lopt.__all__)
def test_every_public_name_is_there(name):
    assert getattr(unf_lopt, name) is not None
    assert name in dir(unf_lopt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'UNFLinaer'"):
        _ = unf_lopt.UNFLinaer
