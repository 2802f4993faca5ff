"""Networks on weight spaces against a pointwise network of equal depth and widths, in one run.

For every weight space (specs as inferred, except for the MLPs') the networks of channels
19-32-32-32-32-1: pointwise, one product a layer over all entries; the full layer; tied
coefficients, with and without cross terms; the definition with one einsum a basis map; and the
paper's arrangement, three pointwise layers and one UNF layer, against four pointwise ones. Where
GitHub main of the ecosystem is on PYTHONPATH the authors' layer joins. Calls are interleaved and
figures are medians; "kernels" is what XLA's profiler counts within a call, on a GPU the time of
its kernels, on a CPU that of all threads. Seconds to trace and to compile, temporary memory and
coefficients beside.

    python benchmarks/layers.py --output=runs/layers.json
    python benchmarks/layers.py --cases "Transformer, 2 layers" --networks tied full
    python benchmarks/layers.py --markdown runs/layers.json
"""

import argparse
import functools
import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from weight_spaces import CASES

from unf_lopt import UNF, PermutationSpec, PointwiseMLP, SpecError, UNFLinear, ecosystem
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


def authors(spec: PermutationSpec) -> hk.Transformed:
    """The authors' own layer, on the blocks of the spec's view."""
    theirs = ecosystem.load("research.univ_nfn.nfn.universal_layers")
    plain = spec.view.spec
    numbers = {space: number for number, space in enumerate(plain.spaces, start=1)}
    permutations = [[numbers[space] for space in axes] for axes in plain.axes]
    layers = [
        part
        for inputs, outputs in itertools.pairwise((INPUT_CHANNELS, *CHANNELS))
        for part in (theirs.NFLinear(outputs, inputs), theirs.nf_relu)
    ]
    network = theirs.UniversalSequential(layers[:-1])

    def init(key: jax.Array, features: Any) -> Any:
        return network.init(key, spec.view.flatten(features)[0], permutations)

    def apply(params: Any, features: Any) -> Any:
        blocks, unflatten = spec.view.flatten(features)
        return unflatten(network.apply(params, blocks, permutations))

    return hk.Transformed(init, apply)


def arrangement(spec: PermutationSpec, last: str) -> hk.Transformed:
    """Three pointwise layers, and a last one that is an UNF layer or pointwise too."""

    def network(features: Any) -> Any:
        if last == "pointwise":
            return PointwiseMLP((*CHANNELS[:3], 1))(features)
        trunk = PointwiseMLP(CHANNELS[:3], activate_final=True)
        return UNFLinear(1, spec, coefficients=last)(features, trunk)

    return hk.without_apply_rng(hk.transform(network))


AUTHORS = "the authors' layer"
CONTESTANTS: dict[str, Callable[[PermutationSpec], hk.Transformed]] = {
    "pointwise": pointwise,
    "full": functional,
    "tied": functools.partial(functional, coefficients="tied"),
    "tied, cross terms": functools.partial(functional, coefficients="tied", cross_terms=True),
    "einsum per term": einsums,
    AUTHORS: authors,
    "4 pointwise": functools.partial(arrangement, last="pointwise"),
    "3 pointwise, UNF[1] full": functools.partial(arrangement, last="per_pair"),
    "3 pointwise, UNF[1] tied": functools.partial(arrangement, last="tied"),
}
SLOW = 8  # times the pointwise network
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

    def kernel_seconds(self) -> float:
        """Seconds a call that the operations of the compiled program take, by XLA's profiler."""
        calls = max(1, min(10, round(5 / np.median(self.seconds))))
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(calls):
                    jax.block_until_ready(self._compiled(self._params, self._features))
            (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
            profile = jax.profiler.ProfileData.from_file(str(file))
        nanoseconds = sum(
            event.duration_ns
            for plane in profile.planes
            for line in plane.lines
            for event in line.events
            if any(name == "hlo_op" for name, _ in event.stats)
        )
        return nanoseconds / calls / 1e9


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
    _call_in_turn(running, seconds)
    for name, contestant in running.items():
        against = running[REFERENCE.get(name, "pointwise")]
        ratio = np.median(contestant.seconds) / np.median(against.seconds)
        temporary = against.figures["temporary_bytes"]
        results[name] = contestant.figures | {
            "median_seconds": float(np.median(contestant.seconds)),
            "ratio": float(ratio),
            "kernel_seconds": contestant.kernel_seconds(),
            "memory_ratio": contestant.figures["temporary_bytes"] / max(temporary, 1),
        }
    return results


def _call_in_turn(running: dict[str, Contestant], seconds: float) -> None:
    """Interleaved calls; what is many times slower, and leaves no cache warm, has its own turns."""
    for contestant in running.values():
        contestant.call()
        contestant.seconds.clear()
        contestant.call()
    limit = SLOW * running["pointwise"].seconds[0]
    slow = [own for own in running.values() if own.seconds[0] > limit]
    for group in (slow, [own for own in running.values() if own not in slow]):
        stop = time.perf_counter() + (seconds if group is not slow else 0)
        for contestant in group:
            contestant.call()  # the first of its turns is not counted
            contestant.seconds.clear()
        while group and (time.perf_counter() < stop or len(group[0].seconds) < 5):
            for contestant in group:
                contestant.call()


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "ratio": lambda figures: f"{figures['ratio']:.2f}",
    "run": lambda figures: f"{figures['median_seconds'] * 1e3:.1f} ms",
    "kernels": lambda figures: f"{figures['kernel_seconds'] * 1e3:.1f} ms",
    "trace": lambda figures: f"{figures['trace_seconds']:.1f} s",
    "compile": lambda figures: f"{figures['compile_seconds']:.1f} s",
    "memory": lambda figures: f"{figures['memory_ratio']:.2f}",
    "coefficients": lambda figures: f"{figures['coefficients']:,}",
}


def rows(results: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    """Weight space, network and every column."""
    for case, networks in results.items():
        for name, figures in networks.items():
            refused = "refused" in figures
            columns = ["refused"] if refused else [show(figures) for show in COLUMNS.values()]
            yield [case, name, *columns]


def table(results: dict[str, dict[str, Any]]) -> Table:
    """The figures as a table."""
    shown = Table("weight space", "network", *COLUMNS)
    for row in rows(results):
        shown.add_row(*row)
    return shown


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """The same for the documentation."""
    header = ["weight space", "network", *COLUMNS]
    lines = [header, ["---"] * len(header), *rows(results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def available() -> list[str]:
    """The networks that this installation has."""
    has_authors = ecosystem.version() == "main"
    return [name for name in CONTESTANTS if has_authors or name != AUTHORS]


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--networks", nargs="*", default=available(), choices=available())
    parser.add_argument("--seconds", type=float, default=20, help="of calls for each weight space")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/layers.json"))
    parser.add_argument("--markdown", type=pathlib.Path, help="only print this file as a table")
    args = parser.parse_args()
    if args.markdown:
        print(markdown(json.loads(args.markdown.read_text())["results"]))
        return
    results: dict[str, Any] = {}
    for case in args.cases:
        spec, left_out = CASES[case]()
        names = [name for name in args.networks if name not in left_out]
        results[case] = measure(spec, names, args.seconds)
        Console(width=140).print(table({case: results[case]}))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        record = {"device": str(jax.devices()[0]), "jax": jax.__version__, "results": results}
        args.output.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
