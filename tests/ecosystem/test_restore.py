"""What the release needs of JAX is restored for the release, and for nothing else."""

import sys

import jax
import pytest

from unf_lopt import ecosystem
from unf_lopt.ecosystem import _restore

_RESTORED = ("tree_map", "tree_multimap", "tree_leaves", "tree_unflatten", "ShapedArray")


@pytest.fixture(scope="module", autouse=True)
def loaded():
    ecosystem.load("outer_train")


@pytest.mark.skipif(ecosystem.version() == "main", reason="GitHub main needs nothing restored")
def test_the_release_gets_its_names():
    assert all(hasattr(jax, name) for name in _RESTORED)
    assert jax.tree_multimap(lambda a, b: a + b, (1, 2), (3, 4)) == (4, 6)
    assert jax.ShapedArray((2,), "float32").shape == (2,)
    assert isinstance(jax.devices()[0], jax.lib.xla_client.Device)


@pytest.mark.skipif(ecosystem.version() == "main", reason="GitHub main imports courier when used")
def test_distributed_training_says_what_it_needs():
    with pytest.raises(ModuleNotFoundError, match="needs the package 'courier'"):
        sys.modules["courier"].Server("learner")


@pytest.mark.skipif(ecosystem.version() == "release", reason="the release needs them")
def test_jax_is_left_alone_on_main():
    assert not [name for name in _RESTORED if hasattr(jax, name)]
    assert not hasattr(jax.lib, "xla_client")
    assert "courier" not in sys.modules


def test_what_is_there_is_not_replaced(monkeypatch):
    def own_tree_map(*_):
        raise AssertionError("not called")

    # monkeypatch notes what is there and puts it back, so that main stays as it was.
    for name in (*_RESTORED, "tree_flatten", "tree_structure"):
        monkeypatch.setattr(jax, name, own_tree_map, raising=False)
    monkeypatch.setattr(jax.lib, "xla_client", "there", raising=False)
    monkeypatch.setitem(sys.modules, "courier", "there")
    _restore.restore()
    assert jax.tree_map is own_tree_map
    assert jax.lib.xla_client == "there"
    assert sys.modules["courier"] == "there"
