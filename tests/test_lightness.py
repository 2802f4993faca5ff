"""Who wants a layer waits neither for the ecosystem nor for TensorFlow."""

import json
import subprocess
import sys

import pytest

import unf_lopt

# Not Flax: Haiku imports it by itself where it is installed.
HEAVY = ("tensorflow", "learned_optimization", "tensorflow_datasets", "matplotlib")


def test_a_layer_costs_no_import_of_the_ecosystem():
    code = (
        "import json, sys, unf_lopt\n"
        "unf_lopt.UNFLinear, unf_lopt.PermutationSpec, unf_lopt.count_maps\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout) == []


@pytest.mark.parametrize("name", unf_lopt.__all__)
def test_every_public_name_is_there(name):
    assert getattr(unf_lopt, name) is not None
    assert name in dir(unf_lopt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'UNFLinaer'"):
        _ = unf_lopt.UNFLinaer
