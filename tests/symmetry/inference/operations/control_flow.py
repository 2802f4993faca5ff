"""Loops, branches, calls, derivatives of the user's own."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

try:
    from jax._src.lax.eval_jaxpr import eval_jaxpr_p
except ImportError:  # JAX 0.9, in which no program makes a closed_call
    eval_jaxpr_p = None

from tests.symmetry.inference.builder import Builder
from tests.symmetry.inference.operations.registry import operation


@operation("scan")
def recurrence(builder: Builder) -> None:
    """A step from the state and an input; the state goes on."""
    steps, width, inputs = builder.size(2), builder.size(2), builder.size()
    recurrent, weight = builder.parameter((width, width)), builder.parameter((inputs, width))
    start = jnp.zeros(width) if builder.chance() else builder.parameter((width,))

    def step(state: Any, entry: Any) -> tuple[Any, Any]:
        state = jnp.tanh(state @ recurrent + entry @ weight)
        return state, state * 2.0

    entries = builder.array((steps, inputs))
    builder.add(*lax.scan(step, start, entries, reverse=builder.chance()))
    if builder.chance():
        loss = lambda weight: jnp.sum(  # noqa: E731
            lax.scan(lambda s, e: (jnp.tanh(s + e @ weight), s), start, entries)[0]
        )
        builder.add(jax.grad(loss)(weight))


@operation("scan", times=2)
def map_over(builder: Builder) -> None:
    """No carry: the scanned axis is one like others."""
    shape = (builder.size(2), *builder.shape((1, 2)))
    array, other = builder.array(shape), builder.array(shape)
    shared = builder.array(shape[1:])
    builder.add(lax.map(lambda pair: jnp.tanh(pair[0]) * pair[1] + shared, (array, other)))


@operation("scan")
def swapping_scan(builder: Builder) -> None:
    """Carries change places, so their axes are tied."""
    size = builder.size(2)
    first, second = builder.array((size, 3)), builder.array((size, 3))
    third = builder.array((3, size))

    def step(carry: Any, _: Any) -> tuple[Any, Any]:
        a, b, c = carry
        return (b, a * 2.0, jnp.tanh(a).T + c), c @ b

    builder.add(*lax.scan(step, (first, second, third), length=3)[0])


@operation("scan", "dynamic_slice")
def loop_over_rows(builder: Builder) -> None:
    array = builder.array(rank=2)
    total = lax.fori_loop(
        0, array.shape[0], lambda i, s: s + jnp.sin(array[i]), jnp.zeros(array.shape[1])
    )
    builder.add(total)


@operation("scan")
def layers(builder: Builder) -> None:
    """Stacked layers, some of them with remat, and their gradient."""
    depth, width = builder.size(2), builder.size(2)
    weights, hidden = builder.parameter((depth, width, width)), builder.array((width,))

    def layer(hidden: Any, weight: Any) -> tuple[Any, None]:
        return jnp.tanh(hidden @ weight), None

    body = jax.checkpoint(layer) if builder.chance() else layer
    builder.add(lax.scan(body, hidden, weights)[0])
    builder.add(jax.grad(lambda w: jnp.sum(lax.scan(body, hidden, w)[0] ** 2))(weights))


@operation("while")
def while_loop(builder: Builder) -> None:
    """Until a sum is small; what does not change is a constant of the loop."""
    shape = builder.shape((1, 2))
    array, other = builder.array(shape), builder.array(shape)

    def unfinished(carry: Any) -> Any:
        return (carry[0] < 4) & (jnp.sum(carry[1] ** 2) + jnp.sum(other) > -1e3)

    def body(carry: Any) -> Any:
        count, x, y = carry
        return count + 1, y * 0.5 + jnp.tanh(other), x

    builder.add(*lax.while_loop(unfinished, body, (0, array, builder.array(shape)))[1:])


@operation("while")
def batched_while_loop(builder: Builder) -> None:
    """Each entry of a batch stops by itself."""
    limits, array = builder.integers((builder.size(2),), 0, 3), None
    array = builder.array((limits.shape[0], builder.size()))

    def one(limit: Any, x: Any) -> Any:
        return lax.while_loop(lambda c: c[0] < limit, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x))[
            1
        ]

    builder.add(jax.vmap(one)(limits, array))


@operation("cond", times=2)
def branches(builder: Builder) -> None:
    """Branches that agree on axes, or tie them."""
    shape = (builder.size(2),) * 2
    first, second = builder.array(shape), builder.array(shape)
    functions = [
        lambda a, b: (a, b * 2.0),
        lambda a, b: (jnp.tanh(b), a + b),
        lambda a, b: (a.T, b),
        lambda a, b: (jnp.zeros_like(a), jnp.broadcast_to(b.sum(0), b.shape)),
    ]
    chosen = [functions[n] for n in builder.order(4)[: builder.integer(2, 3)]]
    which = builder.integers((), 0, len(chosen) - 1).astype(jnp.int32)
    if len(chosen) == 2 and builder.chance():
        builder.add(*lax.cond(jnp.sum(first) > 0, *chosen, first, second))
    else:
        builder.add(*lax.switch(which, chosen, first, second))


@operation("cond", "select_n")
def batched_branches(builder: Builder) -> None:
    flags = builder.booleans((builder.size(2),))
    array = builder.array((*flags.shape, builder.size()))
    builder.add(jax.vmap(lambda f, x: lax.cond(f, jnp.sin, lambda x: x * 0.5, x))(flags, array))


@operation("custom_jvp_call")
def own_forward_derivative(builder: Builder) -> None:
    @jax.custom_jvp
    def function(x: Any, w: Any) -> Any:
        return jnp.tanh(x @ w)

    @function.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        value = function(*primals)
        return value, (1 - value**2) * (tangents[0] @ primals[1] + primals[0] @ tangents[1])

    x, w = builder.array(rank=2), None
    w = builder.array((x.shape[1], builder.size()))
    builder.add(function(x, w), jax.grad(lambda w: jnp.sum(function(x, w)))(w))


@operation("custom_vjp_call")
def own_backward_derivative(builder: Builder) -> None:
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def function(scale: float, x: Any, y: Any) -> Any:
        return x * y.T * scale

    function.defvjp(
        lambda scale, x, y: (function(scale, x, y), (x, y)),
        lambda scale, kept, g: (g * kept[1].T, 2.0 * (g * kept[0]).T),
    )
    x = builder.array(rank=2)
    y = builder.array(x.shape[::-1])
    builder.add(function(2.0, x, y), *jax.grad(lambda *a: jnp.sum(function(2.0, *a)), (0, 1))(x, y))


@operation("custom_vmap_call")
def own_batching(builder: Builder) -> None:
    @jax.custom_batching.custom_vmap
    def function(x: Any, y: Any) -> Any:
        return jnp.sin(x) * y

    @function.def_vmap
    def _(size: int, batched: list[bool], x: Any, y: Any) -> Any:
        return jnp.sin(x) * y, True

    x = builder.array(rank=(1, 2))
    builder.add(function(x, builder.array(x.shape)))


@operation("remat2", "optimization_barrier")
def rematerialized(builder: Builder) -> None:
    array, weight = builder.array(rank=2), None
    weight = builder.array((array.shape[1], builder.size()))
    function = jax.checkpoint(lambda x, w: jnp.sum(jnp.sin(jnp.sin(x @ w))))
    builder.add(function(array, weight), *jax.grad(function, (0, 1))(array, weight))


@operation("jit", "composite", *(["closed_call"] if eval_jaxpr_p else []))
def calls(builder: Builder) -> None:
    """Calls in calls, constants closed over, inputs that come back as they are."""
    array = builder.array(rank=2)
    other = builder.array(array.shape)
    constant = jnp.asarray(builder.constant(array.shape))

    @jax.jit
    def inner(x: Any, y: Any) -> Any:
        return x * constant, y, jnp.tanh(y)

    outer = jax.jit(lambda x, y: inner(y, x))
    builder.add(*outer(array, other))
    composite = lax.composite(lambda x, y: (x - y, y @ x.T), "tests.both")
    builder.add(*composite(array, other))
    if eval_jaxpr_p:
        closed = jax.make_jaxpr(lambda x, y: (y * 2.0, x.T))(array, other)
        name = "jaxpr" if jax.__version_info__ < (0, 11) else "call_jaxpr"
        builder.add(*eval_jaxpr_p.bind(array, other, **{name: closed}))


@operation("dot_general", "vmap")
def mapped(builder: Builder) -> None:
    """Batched twice, over different axes."""
    array, weight = builder.array(rank=3), builder.array(rank=2)
    weight = builder.array((array.shape[2], builder.size()))
    builder.add(jax.vmap(jax.vmap(lambda x: jnp.tanh(x @ weight)), in_axes=1)(array))


@operation("debug_callback", "debug_print")
def messages(builder: Builder) -> None:
    array = builder.array()
    jax.debug.callback(lambda x: None, array)
    jax.debug.print("{}", array)
    builder.add(array * 2.0)


@operation("platform_index", "cond")
def by_platform(builder: Builder) -> None:
    array = builder.array()
    builder.add(lax.platform_dependent(array, cpu=jnp.sin, default=jnp.cos))


@operation("add", "new_ref", "swap")
def mutable_arrays(builder: Builder) -> None:
    """References have no rule: what is written to one is frozen."""
    array = builder.array()
    reference = jax.new_ref(jnp.zeros_like(array))
    reference[...] = jnp.sin(array)
    builder.add(reference[...] * 2.0)


@operation("scan", "dot_general", "sub")
def inner_training(builder: Builder) -> None:
    """Two steps of gradient descent inside the loss."""
    inputs, hidden = builder.size(2), builder.size(2)
    data = jnp.asarray(builder.constant((3, inputs)))
    start = (builder.parameter((inputs, hidden)), builder.parameter((hidden,)))

    def loss(weights: Any) -> Any:
        return jnp.mean((jnp.tanh(data @ weights[0]) @ weights[1]) ** 2)

    def step(weights: Any, _: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda w, g: w - 0.1 * g, weights, jax.grad(loss)(weights)), None

    builder.add(*lax.scan(step, start, length=2)[0])
