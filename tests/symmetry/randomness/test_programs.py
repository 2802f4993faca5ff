"""Random programs that derive keys and draw from them: what is left free must hold on numbers."""

import jax
import jax.numpy as jnp
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax, random

from tests.symmetry.randomness.law import infer_in_distribution

SHAPES = ((3,), (4,), (1, 3), (2, 3))
DRAWS, STEPS = 5, 6


class Program:
    """A loss made by choices: keys are derived, and every draw meets a parameter of its own."""

    def __init__(self, choices):
        self.choices = list(choices)
        self.shapes = [SHAPES[self.choose(len(SHAPES))] for _ in range(DRAWS)]
        self.dtypes = [(jnp.float32, jnp.float16)[self.choose(4) == 0] for _ in range(DRAWS)]
        self.steps = [self.choose(len(STEP_KINDS)) for _ in range(STEPS)]

    def choose(self, count):
        return self.choices.pop(0) % count if self.choices else 0

    def params(self):
        return [jax.ShapeDtypeStruct((*shape,), jnp.float32) for shape in self.shapes]

    def loss(self, params, key):
        self.values, self.drawn, self.zero = params, 0, jnp.int32(jnp.sum(params[0]) > 1e6)
        self.keys = [*random.split(key, 2 * STEPS)]
        total = sum(STEP_KINDS[step](self) for step in self.steps)
        return total + self.draw(self.key()) + self.draw(self.key())

    def key(self):
        """A key that mostly is not used again, as it should be, but sometimes is."""
        key = self.keys.pop(self.choose(len(self.keys)))
        if self.choose(16) == 0 or not self.keys:
            self.keys.append(key)
        return key

    def draw(self, key):
        if self.drawn == DRAWS:
            return 0.0
        number, self.drawn = self.drawn, self.drawn + 1
        u = random.uniform(key, self.shapes[number], self.dtypes[number]).astype(jnp.float32)
        return jnp.sum(jnp.sin(3 * self.values[number] * u) + u)

    def derive(self, key, computed=None):
        """Two keys made of one."""
        if self.choose(8) == 0:
            return random.fold_in(key, self.choose(2)), key
        if self.choose(3) == 0:
            number = self.zero if computed is None else computed
            return random.fold_in(random.fold_in(key, 0), number), random.fold_in(key, 1)
        made = random.split(key, 2 + self.choose(2))
        first, other = self.choose(2), self.choose(len(made))
        return made[first], made[other]


def rows(program):
    program.keys += [*random.split(program.key(), 2 + program.choose(2))]
    return 0.0


def derivation(program):
    program.keys += program.derive(program.key())
    return 0.0


def drawing(program):
    return program.draw(program.key())


def place(program):
    keys = random.split(program.key(), 3)
    index = program.zero + program.choose(3)
    program.keys.append(keys[index] if program.choose(2) else jnp.take(keys, index, axis=0))
    return 0.0


def selection(program):
    first, other = program.key(), program.key()
    if program.choose(2):
        chosen = jnp.where(program.zero == program.choose(2), first, other)
    else:
        chosen = lax.cond(program.zero == program.choose(2), lambda: first, lambda: other)
    program.keys.append(chosen)
    return 0.0


def stack(program):
    keys = jnp.stack([program.key(), program.key(), program.key()])
    program.keys.append(keys[0])
    return jnp.sum(lax.map(program.draw, keys[program.choose(2) :]))


def mapped(program):
    keys = random.split(program.key(), 4)
    program.keys.append(keys[program.choose(4)])
    return jnp.sum(jax.vmap(program.draw)(keys[:3]))


def chain(program):
    def body(carry, counter):
        key, total = carry
        key, sub = program.derive(key, counter)
        total = total * 0.7 + program.draw(sub)
        return (key, total), sub

    (key, total), subs = lax.scan(body, (program.key(), 0.0), jnp.arange(3))
    program.keys += [key] if program.choose(3) else [key, subs[0]]
    return total


def pair_of_chains(program):
    def body(carry, _):
        first, other, total = carry
        (first, other), sub = program.derive(first), program.derive(other)[0]
        return (other, first, total * 0.7 + program.draw(sub)), None

    carry = (program.key(), program.key(), 0.0)
    (first, other, total), _ = lax.scan(body, carry, None, length=2)
    program.keys += [first, other]
    return total


def loop(program):
    def body(state):
        count, key, total = state
        key, sub = program.derive(key, count)
        return count + 1, key, total * 0.7 + program.draw(sub)

    first = (program.zero, program.key(), 0.0)
    _, key, total = lax.while_loop(lambda state: state[0] < 2, body, first)
    program.keys.append(key)
    return total


def nested(program):
    def outer(carry, _):
        key, total = carry
        held, program.keys = program.keys, [key]
        total = total * 0.7 + chain(program)
        key = program.key()
        program.keys = held
        return (key, total), None

    (key, total), _ = lax.scan(outer, (program.key(), 0.0), None, length=2)
    program.keys.append(key)
    return total


def branches(program):
    key = program.key()
    return lax.cond(program.zero == program.choose(2), program.draw, program.draw, key)


def rematerialized(program):
    key = program.key()
    drawn = program.drawn

    def inner(scale):
        program.drawn = drawn
        return jnp.sin(scale * program.draw(key))

    return jax.grad(jax.checkpoint(inner))(1.1)


def compiled(program):
    program.keys += [*jax.jit(random.split)(program.key())]
    return 0.0


STEP_KINDS = (
    rows,
    derivation,
    derivation,
    drawing,
    place,
    selection,
    stack,
    mapped,
    chain,
    pair_of_chains,
    loop,
    nested,
    branches,
    rematerialized,
    compiled,
)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 2**16), min_size=60, max_size=60), st.booleans())
def test_what_is_left_free_holds_on_numbers(choices, raw):
    program = Program(choices)
    key = random.PRNGKey(5) if raw else random.key(5)
    infer_in_distribution(program.loss, program.params(), key)
