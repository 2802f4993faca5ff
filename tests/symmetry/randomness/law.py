"""The law of a symmetry in distribution, on numbers.

Let every random draw of the loss come out permuted. Then the loss at the permuted parameters must
be the loss at the parameters, for every key. That is invariance in distribution if the permuted
draws are as likely as the draws, and they are if permuting is one and the same thing for all uses
of one key: the keys that the program meets when it runs decide that, not what is inferred of them.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools

import jax
import numpy as np
from jax.extend import core

from unf_lopt.symmetry._axes import index_of
from unf_lopt.symmetry.inference import infer_traced, trace_loss
from unf_lopt.symmetry.inference._permuted_draws import (
    draw_indices,
    moved_draw,
    replace_equations,
)
from unf_lopt.symmetry.verification._promote import Notes, promoted_function

KEYED = ("random_bits", "random_gamma", "random_split", "random_fold_in")


# Passes its argument on; as nothing is compiled here, it is told the value.
NOTE = core.Primitive("note")
NOTE.def_impl(lambda words, note: note(words) or words)
NOTE.def_abstract_eval(lambda words, note: words)


class NotInvariant(AssertionError):
    """The law does not hold."""


@dataclasses.dataclass(frozen=True)
class Use:
    """One use of one key while the program ran.

    Attributes:
      kind: what was made of the key.
      order: how the entries were permuted, by the axes that are longer than 1.
    """

    kind: tuple
    order: tuple[tuple[int, ...], ...]

    @property
    def is_moved(self):
        return any(index != tuple(range(len(index))) for index in self.order)


def infer_in_distribution(loss, params, *args, seed=0, **options):
    """Infers a spec and holds the loss to it."""
    traced = trace_loss(loss, params, args, **options)
    spec = infer_traced(traced, randomness="in_distribution").spec
    inference = infer_traced(traced, within=spec, randomness="in_distribution", record=True)
    assert inference.spec.canonical() == spec.canonical()
    rng = np.random.default_rng(seed)
    values = [
        rng.normal(size=shape.shape) if value is None else value
        for value, shape in zip(traced.values, traced.inputs, strict=True)
    ]
    permutation = {group: some_order(rng, size) for group, size in spec.groups.items()}
    check(traced, inference, spec, permutation, values)
    return spec


def some_order(rng, size):
    """A permutation that is not the identity, where there is one."""
    order = rng.permutation(size)
    return np.roll(order, 1) if np.array_equal(order, np.arange(size)) else order


def check(traced, inference, spec, permutation, values):
    """Raises NotInvariant unless the law holds."""
    moved = [
        np.asarray(value)[np.ix_(*(index_of(axis, permutation, spec.spaces, np) for axis in axes))]
        for value, axes in zip(values, spec.axes, strict=False)
    ]
    uses = collections.defaultdict(set)
    before = evaluate(traced, inference, lambda step: {}, values, collections.defaultdict(set))
    indices_of = draw_indices(inference, permutation, np)
    after = evaluate(traced, inference, indices_of, [*moved, *values[len(moved) :]], uses)
    if not np.isfinite(before) or not np.allclose(after, before, rtol=1e-9, atol=1e-12):
        raise NotInvariant(f"{before} became {after}")
    for of_key in uses.values():
        for first, other in itertools.combinations(of_key, 2):
            if first.kind == other.kind or first.is_moved or other.is_moved:
                raise NotInvariant(f"one key is used in two ways:\n  {first}\n  {other}")


def evaluate(traced, inference, indices_of, values, uses):
    """The loss in float64, with moved draws; notes what is made of every key."""

    def replacement(step):
        if step.equation.primitive.name not in KEYED:
            return None
        indices = indices_of(step)
        use, function = use_of(step.equation, indices), moved_draw(step.equation, indices)

        def note(words):
            for key in np.asarray(words).reshape(-1, words.shape[-1]):
                uses[key.tobytes()].add(use)

        def noting(keys, *others):
            words = NOTE.bind(jax.random.key_data(keys), note=note)
            return function(jax.random.wrap_key_data(words, impl=keys.dtype._impl), *others)

        return noting

    jaxpr = replace_equations(traced.jaxpr, inference.steps, replacement)
    with jax.enable_x64(True), jax.disable_jit():
        return float(promoted_function(jaxpr, Notes())(*values)[0])


def use_of(equation, indices):
    """What an equation makes of each key, sizes 1 left out."""
    keys, made = equation.invars[0].aval, equation.outvars[0].aval
    name = equation.primitive.name
    axes = () if name == "random_fold_in" else range(keys.ndim, made.ndim)
    long = [axis for axis in axes if made.shape[axis] != 1]
    kind = (name, equation.params.get("bit_width"), *(made.shape[axis] for axis in long))
    order = [indices.get(axis, np.arange(made.shape[axis])) for axis in long]
    return Use(kind, tuple(tuple(map(int, index)) for index in order))
