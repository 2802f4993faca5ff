"""Convolutional networks."""

from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp

from tests.symmetry.zoo import tables
from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    cross_entropy,
    dense,
    labels,
    layer_norm,
    normal,
    ones_like,
    shapes_of,
    standardized,
)

SMALL = {"side": 4, "rows": 3, "columns": 3}  # kept in traps, where convolutions would be slow


def _images(n):
    shape = (n.batch, n.side, n.side, n.colours)
    return normal(*shape), labels(n.batch, classes=n.classes)


def _conv(x, w, stride=1, padding="SAME", groups=1):
    return jax.lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _pooled(x, size, kind):
    window = (1, size, size, 1)
    if kind == "max":
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "VALID") / size**2


@case(trap=SMALL, batch=4, side=6, colours=2, rows=3, columns=3, maps=5, more=4, classes=3)
def pooled(n):
    def loss(params, x, y):
        h = jax.nn.relu(_conv(x, params["first"]["w"], 2) + params["first"]["b"])
        h = jax.nn.relu(_conv(h, params["second"]["w"]) + params["second"]["b"])
        return cross_entropy(dense(params["last"], h.mean((1, 2))), y)

    table = """
        first/w   [rows1], [columns1], [colours], maps
        first/b   maps
        second/w  [rows2], [columns2], maps, more
        second/b  more
        last/w    more, [classes]
        last/b    [classes]
    """
    return problem(n, loss, table, _images(n))


@case(trap=True, batch=4, side=6, colours=2, rows=3, columns=2, maps=5, space=9, classes=4)
def flattened(n):
    """The dense layer's rows are places times channels; places keep their order."""

    def loss(params, x, y):
        h = _pooled(jax.nn.relu(_conv(x, params["conv"]) + params["bias"]), 2, "max")
        return cross_entropy(dense(params["last"], h.reshape(n.batch, -1)), y)

    table = """
        conv    [rows], [columns], [colours], maps
        bias    maps
        last/w  [space]*maps, [classes]
        last/b  [classes]
    """
    n.space = (n.side // 2) ** 2
    return problem(n, loss, table, _images(n))


@case(batch=4, side=6, colours=2, rows=3, columns=3, maps=5, space=9, classes=4)
def flattened_channels_first(n):
    def loss(params, x, y):
        h = jax.lax.conv_general_dilated(x, params["conv"], (2, 2), "SAME")
        h = jnp.tanh(h + params["bias"][:, None, None])
        return cross_entropy(dense(params["last"], h.reshape(n.batch, -1)), y)

    table = """
        conv    maps, [colours], [rows], [columns]
        bias    maps
        last/w  maps*[space], [classes]
        last/b  [classes]
    """
    x, y = _images(n)
    return problem(n, loss, table, (x.transpose(0, 3, 1, 2), y))


@case(batch=3, side=5, colours=2, rows=3, columns=3, parts=3, width=2, copies=4, more=5, classes=3)
def depthwise_with_group_norm(n):
    """Groups are alike, and so are the channels of every group: two permutations."""

    def group_norm(x):
        grouped = x.reshape(*x.shape[:3], n.parts, n.width)
        return standardized(grouped, (1, 2, 4)).reshape(x.shape)

    def loss(params, x, y):
        h = group_norm(_conv(x, params["first"])) * params["scale"] + params["offset"]
        h = jax.nn.relu(h)
        h = _conv(h, params["depthwise"], groups=n.parts * n.width)
        h = jax.nn.relu(_conv(jnp.tanh(h), params["pointwise"]))
        return cross_entropy(h.mean((1, 2)) @ params["last"], y)

    table = """
        first      [rows1], [columns1], [colours], parts*width
        scale      parts*width
        offset     parts*width
        depthwise  [rows2], [columns2], 1, parts*width*copies
        pointwise  1, 1, parts*width*copies, more
        last       more, [classes]
    """
    return problem(n, loss, table, _images(n))


@case(trap=SMALL, batch=3, side=4, colours=2, rows=3, columns=3, maps=5, more=6, classes=3)
def depthwise(n):
    def loss(params, x, y):
        h = jnp.tanh(_conv(x, params["first"]))
        h = jnp.tanh(_conv(h, params["depthwise"], groups=n.maps) + params["bias"])
        h = jnp.tanh(_conv(h, params["pointwise"]))
        return cross_entropy(h.max((1, 2)) @ params["last"], y)

    table = """
        first      [rows1], [columns1], [colours], maps
        depthwise  [rows2], [columns2], 1, maps
        bias       maps
        pointwise  1, 1, maps, more
        last       more, [classes]
    """
    return problem(n, loss, table, _images(n))


@case(trap=SMALL, batch=3, side=4, colours=2, rows=3, columns=3, parts=3, into=2, out=4, classes=5)
def grouped(n):
    def loss(params, x, y):
        h = jnp.tanh(_conv(x, params["first"]))
        h = jnp.tanh(_conv(h, params["grouped"], groups=n.parts) + params["bias"])
        return cross_entropy(h.mean((1, 2)) @ params["last"], y)

    table = """
        first    [rows1], [columns1], [colours], parts*into
        grouped  [rows2], [columns2], into, parts*out
        bias     parts*out
        last     parts*out, [classes]
    """
    return problem(n, loss, table, _images(n))


@case(batch=3, side=4, colours=2, parts=2, outer=3, inner=2, out=5, classes=3)
def shuffled_groups(n):
    """Channels shuffled between two grouped convolutions: the common refinement of both cuts.

    Of parts × (outer·inner) channels the shuffle makes (outer·inner) × parts, which the second
    convolution cuts into as many parts again: outer × (inner·parts).
    """

    def loss(params, x, y):
        h = jnp.tanh(_conv(x, params["first"]))
        h = jnp.tanh(_conv(h, params["second"], groups=n.parts))
        shape = h.shape
        h = h.reshape(*shape[:3], n.parts, -1).swapaxes(3, 4).reshape(shape)
        h = jnp.tanh(_conv(h, params["third"], groups=n.outer))
        return cross_entropy(h.mean((1, 2)) @ params["last"], y)

    table = """
        first   1, 1, [colours], parts*hidden
        second  1, 1, hidden, parts*outer*inner
        third   1, 1, inner*parts, outer*out
        last    outer*out, [classes]
    """
    n.hidden = 3
    return problem(n, loss, table, _images(n))


@case(trap=SMALL, batch=3, side=4, colours=2, rows=3, columns=3, maps=5, squeezed=2, classes=3)
def squeeze_and_excite(n):
    def loss(params, x, y):
        h = jax.nn.silu(_conv(x, params["conv"]))
        gate = jax.nn.relu(dense(params["squeeze"], h.mean((1, 2))))
        h = h * jax.nn.sigmoid(dense(params["excite"], gate))[:, None, None]
        return cross_entropy(h.mean((1, 2)) @ params["last"], y)

    table = """
        conv       [rows], [columns], [colours], maps
        squeeze/w  maps, squeezed
        squeeze/b  squeezed
        excite/w   squeezed, maps
        excite/b   maps
        last       maps, [classes]
    """
    return problem(n, loss, table, _images(n))


@case(trap=SMALL, batch=3, side=4, colours=2, rows=3, columns=3, maps=5, deep=4, out=3)
def u_net(n):
    """The decoder reads what it brought up, and beside it what the encoder had."""

    def loss(params, x, target):
        skip = jax.nn.relu(_conv(x, params["encode"]))
        h = jax.nn.relu(_conv(_pooled(skip, 2, "mean"), params["bottom"]) + params["bias"])
        h = jax.nn.relu(_up(h, params["up"]))
        h = jnp.concatenate([h, skip], axis=-1)
        h = jax.nn.relu(_conv(h, params["decode"]))
        return jnp.mean((_conv(h, params["last"]) - target) ** 2)

    table = """
        encode  [rows1], [columns1], [colours], maps
        bottom  [rows2], [columns2], maps, deep
        bias    deep
        up      [rows3], [columns3], deep, up
        decode  [rows4], [columns4], up + maps, out
        last    1, 1, out, [targets]
    """
    n.up, n.targets = n.maps + 1, n.colours
    x = normal(n.batch, n.side, n.side, n.colours)
    return problem(n, loss, table, (x, x[::-1]))


def _up(x, w):
    return jax.lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@case(trap=SMALL, batch=3, side=4, colours=2, rows=3, columns=3, growth=5, more=4, classes=3)
def densely_connected(n):
    """Every layer reads all that came before it, side by side."""

    def loss(params, x, y):
        h = x
        for name in ("first", "second", "third"):
            h = jnp.concatenate([h, jax.nn.relu(_conv(h, params[name]))], axis=-1)
        return cross_entropy(h.mean((1, 2)) @ params["last"], y)

    table = """
        first   [rows1], [columns1], [colours], growth
        second  [rows2], [columns2], [colours] + growth, more
        third   [rows3], [columns3], [colours] + growth + more, growth2
        last    [colours] + growth + more + growth2, [classes]
    """
    return problem(n, loss, table, _images(n))


@case(batch=3, side=3, colours=2, rows=3, columns=3, maps=5, block=2, out=4)
def pixel_shuffle(n):
    """Channels become pixels: the major part of the axis is places in a block."""

    def loss(params, x, target):
        h = jnp.tanh(_conv(jnp.tanh(_conv(x, params["first"])), params["wide"]) + params["bias"])
        h = h.reshape(n.batch, n.side, n.side, n.block, n.block, n.out)
        h = h.transpose(0, 1, 3, 2, 4, 5).reshape(n.batch, 2 * n.side, 2 * n.side, n.out)
        return jnp.mean((_conv(h, params["last"]) - target) ** 2)

    table = """
        first  [rows1], [columns1], [colours], maps
        wide   [rows2], [columns2], maps, [area]*out
        bias   [area]*out
        last   [rows3], [columns3], out, [targets]
    """
    n.area, n.targets = n.block**2, n.colours
    x = normal(n.batch, n.side, n.side, n.colours)
    return problem(n, loss, table, (x, normal(n.batch, 2 * n.side, 2 * n.side, n.colours)))


@case(trap=True, batch=3, time=7, colours=2, taps=2, maps=5, more=4, classes=3)
def causal_in_time(n):
    """Dilated convolutions over a sequence, with a residual stream and layer norm."""

    def conv(x, w, dilation):
        pads = [((w.shape[0] - 1) * dilation, 0)]
        numbers = ("NWC", "WIO", "NWC")
        return jax.lax.conv_general_dilated(
            x, w, (1,), pads, rhs_dilation=(dilation,), dimension_numbers=numbers
        )

    def loss(params, x, y):
        h = x @ params["in"]
        for dilation, name in ((1, "a"), (2, "b")):
            block = params[name]
            inner = jax.nn.relu(conv(layer_norm(block, h), block["conv"], dilation))
            h = h + inner @ block["out"]
        return cross_entropy(h[:, -1] @ params["out"], y)

    table = """
        in        [colours], maps
        a/scale   maps
        a/offset  maps
        a/conv    [taps1], maps, more1
        a/out     more1, maps
        b/scale   maps
        b/offset  maps
        b/conv    [taps2], maps, more2
        b/out     more2, maps
        out       maps, [classes]
    """
    args = (normal(n.batch, n.time, n.colours), labels(n.batch, classes=n.classes))
    return problem(n, loss, table, args)


def _resnet(n, version_2):
    config = {
        "blocks_per_group": (1, 2, 1, 1),
        "bottleneck": version_2,
        "use_projection": (version_2, True, False, True),
    }
    stem = {"kernel_shape": 3, "stride": 1, "output_channels": n.stem}
    channels = (n.wide if version_2 else n.stem, n.more, n.more, n.maps)

    def forward(x):
        net = hk.nets.ResNet(
            num_classes=n.classes,
            resnet_v2=version_2,
            channels_per_group=channels,
            initial_conv_config=stem,
            strides=(1, 2, 1, 1),
            **config,
        )
        return net(x, is_training=True)

    net = hk.without_apply_rng(hk.transform_with_state(forward))
    x, y = _images(n)
    params, state = shapes_of(net.init, jax.random.key(0), x)

    def loss(params, state, x, y):
        logits, state = net.apply(params, state, x)
        return cross_entropy(logits, y), state

    table, state_table = tables.resnet(version_2=version_2, **config)
    return problem(
        n,
        loss,
        table,
        (ones_like(state), x, y),
        params=params,
        state_argnum=0,
        state_table=state_table,
    )


@case(trap=True, batch=3, side=8, colours=2, stem=5, wide=8, more=4, maps=8, classes=3)
def resnet_v1(n):
    """One stream until a projection makes another."""
    return _resnet(n, version_2=False)


@case(trap=True, batch=3, side=8, colours=2, stem=5, wide=8, more=12, maps=16, classes=3)
def resnet_v2(n):
    """With bottlenecks, and normalized before each convolution."""
    return _resnet(n, version_2=True)
