"""Networks on weight spaces against a pointwise network of equal depth and widths, in one run.

For every weight space (specs as inferred, except for the MLPs') the networks of channels
19-32-32-32-32-1: pointwise, one product a layer over all entries; the full layer; tied
coefficients, with and without cross terms; the definition with one einsum a basis map; and the
paper's arrangement, three pointwise layers and one UNF layer, against four pointwise ones. Where
GitHub main of the ecosystem is importable the authors' layer joins. Calls are interleaved and
figures are medians; seconds to trace and to compile, temporary memory and coefficients beside.

    python benchmarks/layers.py --output=runs/layers.json
    python benchmarks/layers.py --cases "Transformer, 2 layers" --contestants tied full
"""

import argparse
import functools
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from weight_spaces import CASES

from unf_lopt import UNF, PermutationSpec, PointwiseMLP, SpecError, UNFLinear
from unf_lopt.layers import EquivariantLinear, reference
from unf_lopt.symmetry import random_features

INPUT_CHANNELS = 19
CHANNELS = (32, 32, 32, 32, 1)


def pointwise(spec: PermutationSpec) -> hk.Transformed:
    """The same function of every entry; one matrix product a layer."""
    del spec
    return hk.without_apply_rng(hk.transform(lambda x: PointwiseMLP(CHANNELS)(x)))


def functional(spec: PermutationSpec, **options: Any) -> hk.Transformed:
    """A network of equivariant layers."""
    return hk.without_apply_rng(hk.transform(lambda x: UNF(CHANNELS, spec, **options)(x)))


def einsums(spec: PermutationSpec) -> hk.Transformed:
    """The full layer as its definition reads: one einsum a basis map."""
    layers = [EquivariantLinear(spec, channels) for channels in CHANNELS]
    inputs = (INPUT_CHANNELS, *CHANNELS)

    def init(key: jax.Array, features: Any) -> list[dict[str, jax.Array]]:
        keys = jax.random.split(key, len(layers))
        return [layer.init(own, n) for layer, own, n in zip(layers, keys, inputs, strict=False)]

    def apply(params: Sequence[Any], features: Any) -> Any:
        for number, (layer, own) in enumerate(zip(layers, params, strict=True)):
            features = reference.apply_by_definition(layer, own, features)
            if number < len(layers) - 1:
                features = jax.tree.map(jax.nn.relu, features)
        return features

    return hk.Transformed(init, apply)


def arrangement(spec: PermutationSpec, last: str) -> hk.Transformed:
    """Three pointwise layers, and a last one that is an UNF layer or pointwise too."""

    def network(features: Any) -> Any:
        if last == "pointwise":
            return PointwiseMLP((*CHANNELS[:3], 1))(features)
        trunk = PointwiseMLP(CHANNELS[:3], activate_final=True)(features)
        return UNFLinear(1, spec, coefficients=last)(trunk)

    return hk.without_apply_rng(hk.transform(network))


CONTESTANTS: dict[str, Callable[[PermutationSpec], hk.Transformed]] = {
    "pointwise": pointwise,
    "full": functional,
    "tied": functools.partial(functional, coefficients="tied"),
    "tied, cross terms": functools.partial(functional, coefficients="tied", cross_terms=True),
    "einsum per term": einsums,
    "4 pointwise": functools.partial(arrangement, last="pointwise"),
    "3 pointwise, UNF[1] full": functools.partial(arrangement, last="per_pair"),
    "3 pointwise, UNF[1] tied": functools.partial(arrangement, last="tied"),
}
REFERENCE = {name: "4 pointwise" for name in CONTESTANTS if name[0].isdigit()}


class Contestant:
    """One network on one weight space, compiled."""

    def __init__(self, network: hk.Transformed, features: Any):
        shapes = jax.eval_shape(network.init, jax.random.key(0), features)
        generator = np.random.default_rng(0)
        self._params = jax.tree.map(
            lambda x: jnp.asarray(generator.normal(size=x.shape) / 20, x.dtype), shapes
        )
        self._features = features
        started = time.perf_counter()
        lowered = jax.jit(network.apply).lower(self._params, features)
        traced = time.perf_counter()
        self._compiled = lowered.compile()
        self.figures = {
            "trace_seconds": traced - started,
            "compile_seconds": time.perf_counter() - traced,
            "coefficients": sum(x.size for x in jax.tree.leaves(shapes)),
            "temporary_bytes": self._compiled.memory_analysis().temp_size_in_bytes,
        }
        self.seconds: list[float] = []

    def call(self) -> None:
        """One call, timed to its end."""
        started = time.perf_counter()
        jax.block_until_ready(self._compiled(self._params, self._features))
        self.seconds.append(time.perf_counter() - started)


def measure(spec: PermutationSpec, names: Sequence[str], seconds: float) -> dict[str, Any]:
    """Figures of some networks on one weight space."""
    features = random_features(spec, jax.random.key(0), INPUT_CHANNELS)
    running, results = {}, {}
    for name in dict.fromkeys(
        [*names, "pointwise", *(REFERENCE.get(n, "pointwise") for n in names)]
    ):
        try:
            running[name] = Contestant(CONTESTANTS[name](spec), features)
        except SpecError as error:
            results[name] = {"refused": str(error)}
    for contestant in running.values():
        contestant.call()  # the first call is not counted
        contestant.seconds.clear()
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(running["pointwise"].seconds) < 5:
        for contestant in running.values():
            contestant.call()
    for name, contestant in running.items():
        against = running[REFERENCE.get(name, "pointwise")]
        ratios = np.array(contestant.seconds) / np.array(against.seconds)
        temporary = against.figures["temporary_bytes"]
        results[name] = contestant.figures | {
            "median_seconds": float(np.median(contestant.seconds)),
            "ratio": float(np.median(ratios)),
            "memory_ratio": contestant.figures["temporary_bytes"] / max(temporary, 1),
        }
    return results


def show(results: dict[str, dict[str, Any]]) -> Table:
    """The figures as a table."""
    columns = (
        "weight space",
        "network",
        "ratio",
        "run",
        "trace",
        "compile",
        "memory",
        "coefficients",
    )
    table = Table(*columns)
    for case, networks in results.items():
        for name, figures in networks.items():
            if "refused" in figures:
                table.add_row(case, name, "refused: too many basis maps")
                continue
            table.add_row(
                case,
                name,
                f"{figures['ratio']:.2f}",
                f"{figures['median_seconds'] * 1e3:.1f} ms",
                f"{figures['trace_seconds']:.2f} s",
                f"{figures['compile_seconds']:.2f} s",
                f"{figures['memory_ratio']:.2f}",
                f"{figures['coefficients']:,}",
            )
    return table


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument(
        "--contestants", nargs="*", default=list(CONTESTANTS), choices=list(CONTESTANTS)
    )
    parser.add_argument("--seconds", type=float, default=20, help="of calls for each weight space")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/layers.json"))
    args = parser.parse_args()
    results: dict[str, Any] = {}
    for case in args.cases:
        spec, left_out = CASES[case]()
        names = [name for name in args.contestants if name not in left_out]
        results[case] = measure(spec, names, args.seconds)
        Console(width=140).print(show({case: results[case]}))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        record = {"device": str(jax.devices()[0]), "jax": jax.__version__, "results": results}
        args.output.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
