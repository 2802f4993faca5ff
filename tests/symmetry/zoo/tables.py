"""Tables of architectures that are a rule rather than a list: by hand, from the configuration."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence


def resnet(
    *,
    version_2: bool,
    bottleneck: bool,
    blocks_per_group: Sequence[int],
    use_projection: Sequence[bool],
    prefix: str = "res_net",
) -> tuple[str, str]:
    """Parameters and model state of ``hk.nets.ResNet``.

    The channels between blocks are one stream until a projection makes another; the channels
    inside a block are its own. Version 1 normalizes what a convolution has made, version 2 what
    it will read.
    """
    lines: list[str] = []
    normalized: dict[str, str] = {}

    def conv(path: str, before: str, after: str, size: int) -> None:
        places = "1, 1" if size == 1 else f"[{path}_rows], [{path}_columns]"
        lines.append(f"{path}/w  {places}, {before}, {after}")

    stream = "stem"
    conv(f"{prefix}/~/initial_conv", "[colours]", stream, 3)
    if not version_2:
        normalized[f"{prefix}/~/initial_batchnorm"] = stream
    for group, count in enumerate(blocks_per_group):
        for number in range(count):
            block = f"{prefix}/~/block_group_{group}/~/block_{number}/~"
            before = stream
            if number == 0 and use_projection[group]:
                stream = f"stream_{group}"
                conv(f"{block}/shortcut_conv", before, stream, 1)
                if not version_2:
                    normalized[f"{block}/shortcut_batchnorm"] = stream
            inner = [f"inner_{group}_{number}_{depth}" for depth in range(1 + bottleneck)]
            spaces = [before, *inner, stream]
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            for depth, size in enumerate(kernels):
                conv(f"{block}/conv_{depth}", spaces[depth], spaces[depth + 1], size)
                normalized[f"{block}/batchnorm_{depth}"] = spaces[depth + (not version_2)]
    if version_2:
        normalized[f"{prefix}/~/final_batchnorm"] = stream
    for path, space in normalized.items():
        lines += [f"{path}/{name}  1, 1, 1, {space}" for name in ("scale", "offset")]
    lines += [f"{prefix}/~/logits/w  {stream}, [classes]", f"{prefix}/~/logits/b  [classes]"]
    return "\n".join(lines), batch_norm_state(normalized)


def batch_norm_state(normalized: dict[str, str], leading: int = 3) -> str:
    """The state of ``hk.BatchNorm`` modules, given the space of each one's channels."""
    ones = "1, " * leading
    return "\n".join(
        f"{path}/~/{moment}_ema/{name}  " + (f"{ones}{space}" if name != "counter" else "")
        for path, space in normalized.items()
        for moment in ("mean", "var")
        for name in ("average", "hidden", "counter")
    )


def chain(path: str, spaces: Sequence[str]) -> list[str]:
    """Dense layers one after the other; ``path`` with the layer's number in place of ``{}``."""
    lines = []
    for number, (before, after) in enumerate(itertools.pairwise(spaces)):
        layer = path.format(number)
        lines += [f"{layer}/w  {before}, {after}", f"{layer}/b  {after}"]
    return lines


def numbered(name: str, number: int) -> str:
    """How Haiku names the modules of one kind: the first without a number."""
    return f"{name}_{number}" if number else name


def hidden_spaces(depth: int) -> list[str]:
    """Names of the hidden layers of a network."""
    return [f"hidden_{number}" for number in range(depth)]


def mlp(depth: int, *, last: str = "[classes]", dropped: bool = False) -> str:
    """``hk.nets.MLP`` with ``depth`` hidden layers; dropout fixes them."""
    hidden = [f"[{space}]" if dropped else space for space in hidden_spaces(depth)]
    return "\n".join(chain("mlp/~/linear_{}", ["[pixels]", *hidden, last]))


def normalized_mlp(depth: int, norm: str) -> tuple[str, str]:
    """Dense layers, each hidden one with a Haiku norm after it; and the norms' state."""
    spaces = ["[pixels]", *hidden_spaces(depth), "[classes]"]
    lines = []
    for number, pair in enumerate(itertools.pairwise(spaces)):
        lines += chain(numbered("linear", number), pair)
    norms, state = _norms(norm, spaces[1:-1], leading=1)
    return "\n".join(lines + norms), state


def conv_net(depth: int, norm: str = "") -> tuple[str, str]:
    """Haiku convolutions with a norm after each, pooled, and a dense layer."""
    spaces = ["[colours]", *hidden_spaces(depth)]
    lines = chain("linear", [spaces[-1], "[classes]"])
    for number, (before, after) in enumerate(itertools.pairwise(spaces)):
        path = numbered("conv2_d", number)
        lines.append(f"{path}/w  [rows_{number}], [columns_{number}], {before}, {after}")
        lines.append(f"{path}/b  {after}")
    norms, state = _norms(norm, spaces[1:], leading=3)
    return "\n".join(lines + norms), state


def _norms(norm: str, spaces: Sequence[str], leading: int) -> tuple[list[str], str]:
    if not norm:
        return [], ""
    paths = {numbered(norm, number): space for number, space in enumerate(spaces)}
    ones = "1, " * leading if norm == "batch_norm" else ""
    lines = [f"{path}/{name}  {ones}{space}" for path, space in paths.items() for name in _AFFINE]
    return lines, batch_norm_state(paths, leading) if norm == "batch_norm" else ""


_AFFINE = ("scale", "offset")

_CELLS = {
    "irnn": {
        "linear/w": "code, hidden",
        "linear/b": "hidden",
        "linear_1/w": "hidden, hidden",
        "linear_1/b": "hidden",
    },
    "gru": {
        "w_i": "code, [gate]*hidden",
        "w_h": "hidden, [gate]*hidden",
        "b": "[gate]*hidden",
    },
    "lstm": {"linear/w": "code + hidden, [gate]*hidden", "linear/b": "[gate]*hidden"},
}
_CELLS["vanilla_rnn"] = _CELLS["irnn"]


def recurrent_language_model(cell: str) -> str:
    """Words embedded, a Haiku cell with learned first states, and a dense layer."""
    lines = ["embed/embeddings  [vocabulary], code", *chain("linear", ["hidden", "[classes]"])]
    lines += [f"{cell}/{path}  {axes}" for path, axes in _CELLS[cell].items()]
    count = 2 if cell == "lstm" else 1
    return "\n".join(lines + [f"~/initial_state_{i}  1, hidden" for i in range(count)])


def transformer_language_model(layers: int, dropped: bool) -> str:
    """The ecosystem's Transformer; dropout on what the blocks add fixes the stream."""
    stream = "[stream]" if dropped else "stream"
    lines = [f"embed/embeddings  [vocabulary], {stream}"]
    lines += chain("linear", [stream, "[classes]"])
    norms = ["h_f"]
    for i in range(layers):
        keys, values = f"heads_{i}*keys_{i}", f"heads_{i}*values_{i}"
        lines += chain(f"h{i}_attn/query", [stream, keys])
        lines += chain(f"h{i}_attn/key", [stream, keys])
        lines += chain(f"h{i}_attn/value", [stream, values])
        lines += chain(f"h{i}_attn/linear", [values, stream])
        lines += chain(f"h{i}_mlp/linear", [stream, f"hidden_{i}"])
        lines += chain(f"h{i}_mlp/linear_1", [f"hidden_{i}", stream])
        norms += [f"h{i}_ln_1", f"h{i}_ln_2"]
    lines += [f"{norm}/{name}  {stream}" for norm in norms for name in _AFFINE]
    return "\n".join(f"transformer/{line}" for line in lines)


def adafactor_mlp_optimizer(depth: int) -> str:
    """The ecosystem's ``AdafacMLPLOpt`` as a task: features in, direction and size out."""
    spaces = ["[features]", *hidden_spaces(depth), "[outputs]"]
    lines = []
    for number, (before, after) in enumerate(itertools.pairwise(spaces)):
        lines += [f"nn/~/w{number}  {before}, {after}", f"nn/~/b{number}  {after}"]
    decays = ("adafactor_decays", "momentum_decays", "rms_decays")
    return "\n".join(lines + [f"{name}  [{name}]" for name in decays])


def all_fixed(shapes: Mapping[str, Sequence[int]]) -> str:
    """Nothing may be permuted."""
    return "\n".join(
        f"{path or '.'}  "
        + ", ".join(f"[{path}_{axis}]" if size > 1 else "1" for axis, size in enumerate(shape))
        for path, shape in shapes.items()
    )
