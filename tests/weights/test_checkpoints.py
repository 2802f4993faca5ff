"""Networks of others: what was written is read, in every format; what is none is told."""

import jax
import numpy as np
import orbax.checkpoint as orbax
import pytest
from safetensors.numpy import save_file

from tests.strategies import mlp_spec
from unf_lopt.runs import RunError
from unf_lopt.weights import Zoo, read_network

SPEC = mlp_spec([3, 5, 2])


def network(seed):
    rng = np.random.default_rng(seed)
    shapes = zip(SPEC.paths, SPEC.shapes, strict=True)
    return {path: rng.normal(size=shape).astype(np.float32) for path, shape in shapes}


def nested(tree):
    found = {}
    for path, x in tree.items():
        *folders, last = path.split("/")
        place = found
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = x
    return found


def write_orbax(tree, path):
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, nested(tree))


WRITERS = {
    ".safetensors": lambda tree, path: save_file(tree, path),
    ".npz": lambda tree, path: np.savez(path, **tree),
    "": write_orbax,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_was_written_is_read(suffix, tmp_path):
    networks = [network(seed) for seed in range(2)]
    paths = [tmp_path / f"network_{seed}{suffix}" for seed in range(2)]
    for tree, path in zip(networks, paths, strict=True):
        WRITERS[suffix](tree, path)
    found = Zoo.of(SPEC, [read_network(path) for path in paths], [0.1, 0.2])
    expected = Zoo.of(SPEC, networks, [0.1, 0.2])
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)


def test_what_is_none_is_told_in_a_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("nonsense")
    (tmp_path / "text.safetensors").write_text("nonsense")
    np.savez(tmp_path / "pickled.npz", x=np.array([{}], dtype=object))
    for error, name, message in [
        (RunError, "empty", "is no checkpoint of Orbax"),
        (RunError, "text.npz", "cannot be read as .npz"),
        (RunError, "pickled.npz", "cannot be read as .npz"),
        (RunError, "text.safetensors", "cannot be read as .safetensors"),
        (RunError, "nothing.npz", "nothing.npz cannot be read"),
        (ValueError, "params.pkl", r"a file of \('.safetensors', '.npz'\)"),
    ]:
        with pytest.raises(error, match=message) as caught:
            read_network(tmp_path / name)
        assert "\n" not in str(caught.value)
