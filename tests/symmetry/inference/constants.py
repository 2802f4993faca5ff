"""Constants and uses of them, each with the axes that it should leave free."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.symmetry.inference.expectations import Expectation, total
from unf_lopt.symmetry.inference._constants import MOST_SEGMENTS
from unf_lopt.symmetry.inference._folding import MOST_ENTRIES

EYE = np.eye(4, dtype=np.float32)


def changed(array, *where):
    """The array with another value at one place."""
    array = np.array(array)
    array[where] = 7.0
    return array


# Arrays, made by NumPy or by JAX in the loss, and the axes that are free of what they multiply.
CONSTANTS = {
    "blocks": (lambda: np.repeat([1.0, 2.0, 3.0], [4, 2, 3]), "a+b+c"),
    "blocks, others the same": (lambda: np.ones((3, 1)) * np.repeat([1.0, 2.0], 2), "a b+c"),
    "blocks along two axes": (
        lambda: np.kron(np.arange(6.0).reshape(2, 3), np.ones((2, 2))),
        "a+b c+d+e",
    ),
    "blocks along one of two": (lambda: np.arange(24.0).reshape(4, 6)[[0, 0, 1, 1]], "a+b ."),
    "as many blocks as may be": (
        lambda: np.repeat(np.arange(float(MOST_SEGMENTS)), 2),
        "+".join("abcdefghijklmnop"),
    ),
    "more": (lambda: np.repeat(np.arange(MOST_SEGMENTS + 1.0), 2), "."),
    "one entry alone": (lambda: np.repeat([1.0, 2.0, 1.0], [4, 1, 3]), "."),
    "equal entries apart": (lambda: np.array([1.0, 2.0, 1.0, 2.0]), "."),
    "zeros of two signs": (lambda: np.array([0.0, 0.0, -0.0, -0.0]), "a+b"),
    "a zero of either sign": (lambda: np.array([0.0, -0.0]), "."),
    "complex numbers": (lambda: np.repeat([1.0 + 2j, 1.0 + 3j], 2), "a+b"),
    "half precision": (lambda: np.repeat([1.0, 2.0], 2).astype(jnp.bfloat16), "a+b"),
    "truth": (lambda: np.array([True, True, False, False]), "a+b"),
    "ones": (lambda: np.ones((4, 4)), "a b"),
    "one entry": (lambda: np.ones((1, 1)), ". ."),
    "an identity": (lambda: EYE, "a a"),
    "an identity of two": (lambda: np.eye(2), "a a"),
    "a swap of two": (lambda: np.eye(2)[::-1], "a a"),
    "a swap of more": (lambda: EYE[::-1], ". ."),
    "a multiple and an offset": (lambda: 0.5 + 2.0 * EYE, "a a"),
    "an identity that is not square": (lambda: np.eye(4, 5), ". ."),
    "a diagonal that varies": (lambda: np.diag(np.arange(1.0, 5.0)), ". ."),
    "a diagonal with one other": (lambda: changed(EYE, 3, 3), ". ."),
    "one other off the diagonal": (lambda: changed(EYE, 2, 3), ". ."),
    "a symmetric matrix": (lambda: np.add.outer(np.arange(4.0), np.arange(4.0)), ". ."),
    "a triangle": (lambda: np.tril(np.ones((4, 4))), ". ."),
    "a cycle": (lambda: np.roll(EYE, 1, 0), ". ."),
    "an identity with a place between": (lambda: EYE[:, None].repeat(3, 1), "a b a"),
    "different identities": (lambda: np.stack([EYE, 2 * EYE]), ". a a"),
    "identities in blocks": (lambda: np.stack([EYE, EYE, 2 * EYE, 2 * EYE, 2 * EYE]), "a+b c c"),
    "a diagonal of three axes": (lambda: np.einsum("ij,jk->ijk", EYE, EYE), ". . ."),
    "a parity": (lambda: np.indices((2, 2, 2)).sum(0) % 2, "a a ."),
    "two identities": (lambda: np.einsum("ij,kl->ikjl", EYE, EYE), "a b a b"),
    "jnp.eye": (lambda: jnp.eye(4), "a a"),
    "what is off jnp.eye": (lambda: 1.0 - 0.1 * jnp.eye(4), "a a"),
    "jnp.eye beside it": (lambda: jnp.eye(4, k=1), ". ."),
    "a comparison of counters": (lambda: jnp.arange(4)[:, None] == jnp.arange(4), "a a"),
    "a comparison with other counters": (
        lambda: jnp.arange(4)[:, None] == 3 - jnp.arange(4),
        ". .",
    ),
    "an order of counters": (lambda: jnp.arange(4)[:, None] >= jnp.arange(4), ". ."),
    "one hot": (lambda: jax.nn.one_hot(jnp.arange(4), 4), "a a"),
    "a choice": (lambda: jnp.where(jnp.eye(4) > 0, 1.0, 0.1), "a a"),
    "a diagonal of ones": (lambda: jnp.diag(jnp.ones(4)), "a a"),
    "quotients": (lambda: jnp.arange(4) / 5, "."),
    "powers": (lambda: (jnp.arange(6) // 3) ** 3, "a+b"),
    "whole quotients": (lambda: jnp.arange(12) // 4, "a+b+c"),
    "remainders": (lambda: jnp.arange(12) % 4, "."),
    "the first few": (lambda: jnp.arange(6) < 2, "a+b"),
    "a function of blocks": (lambda: jnp.exp(jnp.arange(6) // 3 * 0.3), "a+b"),
    "blocks one after another": (lambda: jnp.concatenate([jnp.ones(2), jnp.zeros(3)]), "a+b"),
    "repeated": (lambda: jnp.repeat(jnp.arange(3.0), 2), "a+b+c"),
    "often repeated": (lambda: jnp.repeat(jnp.arange(20.0), 3), ".*a"),
    "what is too large to be computed": (lambda: jnp.eye(int(MOST_ENTRIES**0.5) + 1), ". ."),
}  # fmt: skip

_TWO_BLOCKS = np.repeat(np.float32([1.0, 2.0]), 2)
USES = [
    Expectation(
        "each use by itself",
        lambda x, y: total(x * _TWO_BLOCKS, y * _TWO_BLOCKS),
        {"x": (4,), "y": (4,)},
        {"x": "a+b", "y": "c+d"},
    ),
    Expectation(
        "each use of what is computed by itself",
        lambda x, y: (lambda eye: total(x * eye, y + eye))(jnp.eye(4)),
        {"x": (4, 4), "y": (4, 4)},
        {"x": "a a", "y": "b b"},
    ),
    Expectation(
        "a matrix product with the identity",
        lambda x, y: total(x @ jnp.eye(4) @ y),
        {"x": (3, 4), "y": (4, 5)},
        {"x": "a b", "y": "b c"},
    ),
    Expectation(
        "the identity added to a product",
        lambda x, y: total(x @ y + EYE),
        {"x": (4, 3), "y": (3, 4)},
        {"x": "a b", "y": "b a"},
    ),
    Expectation(
        "blocks and heads",
        lambda x, y: total((x * np.repeat(np.float32([1, 2]), 3)).reshape(2, 3) * y),
        {"x": (6,), "y": (2, 3)},
        {"x": ".*a", "y": ". a"},
    ),
    Expectation(
        "blocks across heads",
        lambda x, y: total((x * np.repeat(np.float32([1, 2]), [2, 4])).reshape(2, 3) * y),
        {"x": (6,), "y": (2, 3)},
        {"x": ".", "y": ". ."},
    ),
    Expectation(
        "the identity as one axis",
        lambda x: total(x * EYE.reshape(16)),
        {"x": (16,)},
        {"x": "."},
    ),
    Expectation(
        "the identity as one axis, computed",
        lambda x: total(x * jnp.eye(4).reshape(16)),
        {"x": (16,)},
        {"x": "a*a"},
    ),
    Expectation(
        "through functions and loops",
        lambda x, y: total(
            jax.jit(lambda x, eye: x * eye)(x, jnp.eye(4)),
            lax.fori_loop(0, 3, lambda _, h: jnp.tanh(h + _TWO_BLOCKS), y),
        ),
        {"x": (4, 4), "y": (4,)},
        {"x": "a a", "y": "b+c"},
    ),
    Expectation(
        "branches with different constants",
        lambda x, y: total(x * lax.cond(y > 0, lambda: jnp.eye(4), lambda: 2 - jnp.eye(4))),
        {"x": (4, 4), "y": ()},
        {"x": "a a", "y": ""},
    ),
    Expectation(
        "steps of a scan",
        lambda x: total(lax.scan(lambda c, row: (jnp.tanh(c + row), c), x, jnp.eye(4))[1]),
        {"x": (4,)},
        {"x": "."},
    ),
    Expectation(
        "steps that do not depend on each other",
        lambda x: total(lax.scan(lambda _, row: (None, row + x), None, jnp.eye(4))[1]),
        {"x": (4,)},
        {"x": "a"},
    ),
    Expectation(
        "places in blocks",
        lambda x, y: total(x[np.array([0, 0, 2, 2])] * y),
        {"x": (3,), "y": (4,)},
        {"x": ".", "y": "a+b"},
    ),
    Expectation(
        "what orders them",
        lambda x: total(jnp.cumsum(x * _TWO_BLOCKS)),
        {"x": (4,)},
        {"x": "."},
    ),
]
