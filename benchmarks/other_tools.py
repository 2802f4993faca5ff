"""What this package and tools for PyTorch find of the permutation symmetries of small networks.

Each tool gets the same architectures, in its own framework, with random weights. What it finds is
put to the test: weights are permuted at random as the tool says, and the output in float64 must
stay as it was. The tools for PyTorch run in environments of their own; ``rebasin`` and
``sinkhorn-rebasin`` both install a package ``rebasin``, so that they cannot share one:

``pip install torch torch-pruning rebasin`` (and, in another, ``torch sinkhorn-rebasin``)

``python benchmarks/other_tools.py --tool=unf_lopt --output=FILE`` and likewise for every tool, then
``python benchmarks/other_tools.py --markdown FILE ...``
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import itertools
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

NETWORKS = (
    "MLP",
    "CNN with batch norm",
    "residual CNN",
    "GRU",
    "Transformer, attention as a module",
    "Transformer, attention of linear layers",
)
# What a tool permutes may change the output by this much of itself; float64 rounds at 1e-16.
TOLERANCE = 1e-10
WIDTH, HEADS = 16, 2


# ------------------------------------------------------------------------------------ this package
def unf_lopt_finds(name: str) -> dict[str, Any]:
    """The groups of the network, and what verification says."""
    import jax
    import jax.numpy as jnp

    from unf_lopt import infer_spec, verify_spec

    model, shape = _flax_network(name)
    variables = model.init(jax.random.key(0), jnp.ones(shape))
    params = variables["params"]
    targets = jax.random.normal(jax.random.key(1), (shape[0], 10))

    def loss_fn(params: Any, state: Any, inputs: Any, targets: Any) -> Any:
        outputs, _ = model.apply({"params": params, **state}, inputs, mutable="batch_stats")
        return jnp.mean((outputs - targets) ** 2)

    state = {kind: own for kind, own in variables.items() if kind != "params"}
    inputs = jax.random.normal(jax.random.key(2), shape)
    spec = infer_spec(loss_fn, params, state, inputs, targets)
    verified = verify_spec(spec, loss_fn, params, state, inputs, targets)
    return {
        "groups": sorted(spec.groups.values()),
        "change": float(verified.change),
        "maximal": str(verified.maximal),
    }


def _flax_network(name: str) -> tuple[Any, tuple[int, ...]]:
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    def norm(x: Any) -> Any:
        return nn.BatchNorm(use_running_average=False)(x)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            if name == "MLP":
                x = nn.relu(nn.Dense(32)(nn.relu(nn.Dense(32)(x))))
            elif name == "CNN with batch norm":
                x = nn.relu(norm(nn.Conv(8, (3, 3))(x)))
                x = nn.relu(norm(nn.Conv(16, (3, 3))(x))).mean((1, 2))
            elif name == "residual CNN":
                x = nn.relu(norm(nn.Conv(8, (3, 3))(x)))
                for _ in range(2):
                    inner = nn.relu(norm(nn.Conv(16, (3, 3))(x)))
                    x = nn.relu(x + norm(nn.Conv(8, (3, 3))(inner)))
                x = x.mean((1, 2))
            elif name == "GRU":
                x = nn.RNN(nn.GRUCell(WIDTH))(x)[:, -1]
            else:
                x = self.block(nn.Dense(WIDTH)(x)).mean(1)
            return nn.Dense(10)(x)

        def block(self, x: Any) -> Any:
            x = nn.LayerNorm()(x + self.attention(x))
            return nn.LayerNorm()(x + nn.Dense(WIDTH)(nn.relu(nn.Dense(32)(x))))

        def attention(self, x: Any) -> Any:
            if "module" in name:
                return nn.MultiHeadDotProductAttention(HEADS)(x)
            split = (*x.shape[:-1], HEADS, -1)
            query, key, value = (nn.Dense(WIDTH)(x).reshape(split) for _ in range(3))
            weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", query, key), axis=-1)
            return nn.Dense(WIDTH)(jnp.einsum("bhts,bshd->bthd", weights, value).reshape(x.shape))

    channels_last = {"CNN with batch norm": (4, 8, 8, 1), "residual CNN": (4, 8, 8, 1)}
    return Network(), channels_last.get(name, (4, 64) if name == "MLP" else (4, 8, 8))


# ---------------------------------------------------------------------------------- networks, torch
def _torch_network(name: str) -> tuple[Any, Any]:
    """A module with random weights, for evaluation, and an input."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
            self.norm, self.last_norm = nn.BatchNorm2d(16), nn.BatchNorm2d(8)

        def forward(self, x: Any) -> Any:
            inner = torch.relu(self.norm(self.first(x)))
            return torch.relu(x + self.last_norm(self.last(inner)))

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.logits = nn.GRU(8, WIDTH, batch_first=True), nn.Linear(WIDTH, 10)

        def forward(self, x: Any) -> Any:
            return self.logits(self.cell(x)[0][:, -1])

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
            self.out = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            split = (*x.shape[:-1], HEADS, WIDTH // HEADS)
            query, key, value = (
                own(x).reshape(split).transpose(1, 2) for own in (self.query, self.key, self.value)
            )
            weights = torch.softmax(query @ key.transpose(-1, -2), -1)
            return self.out((weights @ value).transpose(1, 2).reshape(x.shape))

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.logits = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 10)
            of_module = "module" in name
            self.attention = (
                nn.MultiheadAttention(WIDTH, HEADS, batch_first=True) if of_module else Attention()
            )
            self.norm, self.last_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.first, self.last = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)

        def attend(self, x: Any) -> Any:
            if isinstance(self.attention, Attention):
                return self.attention(x)
            return self.attention(x, x, x, need_weights=False)[0]

        def forward(self, x: Any) -> Any:
            x = self.embed(x)
            x = self.norm(x + self.attend(x))
            x = self.last_norm(x + self.last(torch.relu(self.first(x))))
            return self.logits(x.mean(1))

    def norm_conv(inputs: int, outputs: int) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    def head(width: int) -> list[Any]:
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]

    torch.manual_seed(0)
    shape: tuple[int, ...] = (4, 1, 8, 8) if "CNN" in name else (4, 8, 8)
    if name == "MLP":
        shape, widths = (4, 64), (64, 32, 32)
        hidden = [(nn.Linear(*pair), nn.ReLU()) for pair in itertools.pairwise(widths)]
        model = nn.Sequential(*(own for pair in hidden for own in pair), nn.Linear(32, 10))
    elif name == "CNN with batch norm":
        model = nn.Sequential(*norm_conv(1, 8), *norm_conv(8, 16), *head(16))
    elif name == "residual CNN":
        model = nn.Sequential(*norm_conv(1, 8), Residual(), Residual(), *head(8))
    else:
        model = Recurrent() if name == "GRU" else Transformer()
    model = model.double().eval()
    with torch.no_grad():  # zero biases and unit scales would hide what is not permuted
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand_like(tensor))
    return model, torch.randn(shape, dtype=torch.float64)


def _change(model: Any, permuted: Any, inputs: Any) -> float:
    """The largest change of an output, relative to the largest output.

    Normalized by the batch: rebasin leaves running statistics to be computed anew.
    """
    import torch

    with torch.no_grad():
        before, after = model.train()(inputs), permuted.train()(inputs)
    return float((before - after).abs().max() / before.abs().max())


# ---------------------------------------------------------------------------------- tools for torch
def rebasin_finds(name: str) -> dict[str, Any]:
    """The permutations of ``PermutationCoordinateDescent``, each drawn at random and applied."""
    import rebasin  # pyright: ignore[reportMissingImports]
    import torch

    model, inputs = _torch_network(name)
    permuted = copy.deepcopy(model)
    found = rebasin.PermutationCoordinateDescent(model, permuted, inputs).pinit.model_graph
    sizes = []
    for permutation, _ in found.permutation_to_info:
        sizes.append(len(permutation))
        permutation.perm_indices = torch.randperm(len(permutation))
    with torch.no_grad():
        found.apply_permutations()
    return {"groups": sorted(sizes), "change": _change(model, permuted, inputs)}


def sinkhorn_rebasin_finds(name: str) -> dict[str, Any]:
    """The permutations of ``RebasinNet``, each drawn at random and applied."""
    import rebasin  # pyright: ignore[reportMissingImports]

    model, inputs = _torch_network(name)
    net = rebasin.RebasinNet(model, tuple(inputs.shape), permutation_type="broadcast")
    net.eval()
    net.random_init()
    return {
        "groups": sorted(len(own) for own in net.p),
        "change": _change(model, net(), inputs),
    }


def torch_pruning_finds(name: str) -> dict[str, Any]:
    """The groups of ``DependencyGraph``: channels that are pruned together, permuted together."""
    import torch
    import torch_pruning  # pyright: ignore[reportMissingImports]
    from torch import nn

    model, inputs = _torch_network(name)
    logits = [own for own in model.modules() if isinstance(own, nn.Linear)]
    logits = [own for own in logits if own.out_features == 10]
    kinds = (nn.Conv2d, nn.Linear, nn.LSTM, nn.MultiheadAttention)
    graph = torch_pruning.DependencyGraph().build_dependency(model, inputs)
    groups = list(graph.get_all_groups(logits, kinds))
    names = dict(map(reversed, model.named_modules()))
    permuted, sizes = copy.deepcopy(model), []
    for group in groups:
        root, prune = group[0].dep.target.module, group[0].dep.handler
        removed = [
            _removed(model, inputs, names[root], prune.__name__, channel)
            for channel in range(len(group[0].idxs))
        ]
        sizes.append(len(removed))
        order = torch.randperm(len(removed)).tolist()
        _permute(permuted, removed, order)
    return {"groups": sorted(sizes), "change": _change(model, permuted, inputs)}


def _removed(
    model: Any, inputs: Any, root: str, prune: str, channel: int
) -> dict[tuple[str, int], list[int]]:
    """The indices that pruning a channel takes away, by tensor and axis."""
    import torch
    import torch_pruning  # pyright: ignore[reportMissingImports]

    numbered = copy.deepcopy(model)
    graph = torch_pruning.DependencyGraph().build_dependency(numbered, inputs)
    tensors = dict(_tensors(numbered))
    shapes = {name: tuple(own.shape) for name, own in tensors.items()}
    for own in tensors.values():
        own.data = torch.arange(own.numel(), dtype=own.dtype).reshape(own.shape)
    module = numbered.get_submodule(root)
    pruner = graph.get_pruner_of_module(module)
    graph.get_pruning_group(module, getattr(pruner, prune), [channel]).prune()
    removed = {}
    for name, own in _tensors(numbered):
        indices = torch.unravel_index(own.detach().long().flatten(), shapes[name])
        for axis, (kept, size) in enumerate(zip(indices, shapes[name], strict=True)):
            if gone := sorted(set(range(size)) - set(kept.tolist())):
                removed[name, axis] = gone
    return removed


def _tensors(model: Any) -> list[tuple[str, Any]]:
    named = (*model.named_parameters(), *model.named_buffers())
    return [(name, own) for name, own in named if own.ndim]


def _permute(model: Any, removed: list[dict[tuple[str, int], list[int]]], order: list[int]) -> None:
    """Puts each channel's slices where those of another were."""
    import torch

    tensors = dict(_tensors(model))
    for name, axis in removed[0]:
        places = torch.arange(tensors[name].shape[axis])
        for channel, other in enumerate(order):
            places[removed[channel][name, axis]] = torch.tensor(removed[other][name, axis])
        tensors[name].data = tensors[name].data.index_select(axis, places)


TOOLS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "unf_lopt": ("unf_lopt", unf_lopt_finds),
    "rebasin": ("rebasin", rebasin_finds),
    "sinkhorn-rebasin": ("sinkhorn-rebasin", sinkhorn_rebasin_finds),
    "torch-pruning": ("torch-pruning", torch_pruning_finds),
}


def measured(tool: str) -> dict[str, Any]:
    """What a tool finds for every network; an error of the tool is a result, too."""
    package, find = TOOLS[tool]
    results = {}
    for name in NETWORKS:
        try:
            results[name] = find(name)
        except Exception as error:
            text = " ".join(str(error).split())
            results[name] = {"error": f"{type(error).__name__}: {text}".rstrip(": ")[:100]}
        print(f"{tool}, {name}: {results[name]}", flush=True)
    return {"tool": tool, "version": importlib.metadata.version(package), "results": results}


def markdown(files: list[str]) -> str:
    """A table of several files: a row for each network, a column for each tool."""
    tools = [json.loads(pathlib.Path(file).read_text(encoding="utf-8")) for file in files]
    titles = [f"{own['tool']} {own['version']}" for own in tools]
    rows = [["network", *titles], ["---"] * (len(tools) + 1)]
    rows += [[name, *(_cell(own["results"][name]) for own in tools)] for name in NETWORKS]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"`{found['error']}`"
    if not found["groups"]:
        return "none"
    groups = f"{len(found['groups'])}: {', '.join(map(str, found['groups']))}"
    change = found["change"]
    if math.isnan(change) or change > TOLERANCE:
        return f"{groups}; **changes the output** by {change:.1g}"
    return groups + (f"; {found['maximal']}" if "maximal" in found else "")


def main() -> None:
    """Measures one tool, or prints a table of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", choices=list(TOOLS))
    parser.add_argument("--output", help="a JSON file")
    parser.add_argument("--markdown", nargs="+", metavar="FILE", help="prints a table of these")
    given = parser.parse_args()
    if given.markdown:
        print(markdown(given.markdown))
        return
    if not given.tool:
        parser.error("--tool=NAME says what is measured, or --markdown FILE ... what is shown.")
    found = measured(given.tool)
    if given.output:
        output = pathlib.Path(given.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
