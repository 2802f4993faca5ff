"""Networks on weight spaces against a pointwise network of equal depth and widths, in one run.

For every weight space (specs as inferred, except for the MLPs') the networks of channels
19-32-32-32-32-1: pointwise, one product a layer over all entries; the full layer; tied
coefficients, with and without cross terms; the definition with one einsum a basis map; and the
paper's arrangement, three pointwise layers and one UNF layer, against four pointwise ones. Where
GitHub main of the ecosystem is on PYTHONPATH the authors' layer joins. Calls are interleaved and
figures are medians; "kernels" is what XLA's profiler counts within a call, on a GPU the time of
its kernels, on a CPU that of all threads. Seconds to trace and to compile, temporary memory and
coefficients beside.

With --step the memory of an optimizer's step instead: features and network of the paper's
optimizers on a Transformer of width 256, whole and block by block.

    python benchmarks/layers.py --output=runs/layers.json
    python benchmarks/layers.py --step --output=runs/step.json
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
from unf_lopt.layers import EquivariantLinear, in_blocks, means_in_blocks, reference
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

    def __init__(self, network: hk.Transformed, *args: Any):
        shapes = jax.eval_shape(network.init, jax.random.key(0), *args)
        generator = np.random.default_rng(0)
        self._params = jax.tree.map(
            lambda x: jnp.asarray(generator.normal(size=x.shape) / 20, x.dtype), shapes
        )
        self._args = args
        started = time.perf_counter()
        lowered = jax.jit(network.apply).lower(self._params, *args)
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
        jax.block_until_ready(self._compiled(self._params, *self._args))
        self.seconds.append(time.perf_counter() - started)

    def kernel_seconds(self) -> float:
        """Seconds a call that the operations of the compiled program take, by XLA's profiler."""
        calls = max(1, min(10, round(5 / np.median(self.seconds))))
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(calls):
                    jax.block_until_ready(self._compiled(self._params, *self._args))
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


# ------------------------------------------------------------------------- memory of a step
DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMESCALES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)


def wide_transformer(layers: int = 4, width: int = 256) -> PermutationSpec:
    """Attention of four heads, an MLP of four times the width, two norms a layer."""
    axes: dict[str, tuple[str, ...]] = {"embed": ("tokens", "stream"), "at": ("places", "stream")}
    sizes: dict[str, int] = {}
    shapes = {"embed": (97, width), "at": (64, width)}
    for n in range(layers):
        qk, vo, hidden = f"heads_{n}*qk_{n}", f"heads_{n}*vo_{n}", f"hidden_{n}"
        sizes |= {f"heads_{n}": 4, f"qk_{n}": width // 4, f"vo_{n}": width // 4}
        own = {"query": ("stream", qk), "key": ("stream", qk), "value": ("stream", vo)}
        own |= {"out": (vo, "stream"), "up": ("stream", hidden), "down": (hidden, "stream")}
        own |= {"up_b": (hidden,)} | {
            name: ("stream",) for name in ("down_b", "scale_1", "offset_1", "scale_2", "offset_2")
        }
        for name, spaces in own.items():
            axes[f"{name}_{n}"] = spaces
            shapes[f"{name}_{n}"] = tuple(4 * width if s == hidden else width for s in spaces)
    params = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}
    return PermutationSpec.from_names(axes, params, fixed={"tokens", "places"}, sizes=sizes)


def raw_features(w: jax.Array, g: jax.Array, m: jax.Array) -> jax.Array:
    """Parameter, gradient and new momenta of entries, clipped: ``[*entries, 8]``."""
    m = jnp.asarray(DECAYS, jnp.float32) * m + g[..., None]
    return jnp.clip(jnp.concatenate([w[..., None], g[..., None], m], axis=-1), -1, 1)


def entry_features(iteration: jax.Array, *arrays: jax.Array) -> jax.Array:
    """The 19 features of entries, ``[*entries, 19]``: eight by their mean squares, and time."""
    *of_entries, mean_squares = arrays
    raw = raw_features(*of_entries)
    time = jnp.tanh(iteration / jnp.asarray(TIMESCALES, jnp.float32) - 1)
    time = jnp.broadcast_to(time, (*raw.shape[:-1], len(TIMESCALES)))
    return jnp.concatenate([raw * jax.lax.rsqrt(mean_squares + 1e-5), time], axis=-1)


def step_network(spec: PermutationSpec, last: str, blockwise: bool) -> hk.Transformed:
    """A step with three pointwise layers and one more: new parameters and momenta."""

    def outputs_of(trees: Sequence[Any], iteration: jax.Array) -> Any:
        trunk = PointwiseMLP(CHANNELS[:3], activate_final=True)
        final = PointwiseMLP((1,)) if last == "pointwise" else UNFLinear(1, spec, coefficients=last)
        make = functools.partial(entry_features, iteration)
        if not blockwise:
            squares = jax.tree.map(
                lambda *x: jnp.mean(raw_features(*x) ** 2, tuple(range(x[0].ndim))), *trees
            )
            features = jax.tree.map(make, *trees, squares)
            return final(trunk(features)) if last == "pointwise" else final(features, trunk)
        squares = means_in_blocks(lambda *x: raw_features(*x) ** 2, *trees)
        if last != "pointwise":
            return final.in_blocks(lambda *x: trunk(make(*x)), *trees, of_tensors=[squares])
        if hk.running_init():  # parameters are made outside of loops
            final(trunk(jnp.zeros((1, INPUT_CHANNELS))))
        return in_blocks(lambda *x: final(trunk(make(*x))), *trees, of_tensors=[squares])

    def step(params: Any, grad: Any, momenta: Any, iteration: jax.Array) -> Any:
        outputs = outputs_of((params, grad, momenta), iteration)
        decays = jnp.asarray(DECAYS, jnp.float32)
        momenta = jax.tree.map(lambda m, g: decays * m + g[..., None], momenta, grad)
        return jax.tree.map(lambda w, f: w - 0.01 * f[..., 0], params, outputs), momenta

    return hk.without_apply_rng(hk.transform(step))


def donated_bytes(network: hk.Transformed, *args: Any) -> int:
    """Temporaries of a step whose parameters and momenta take the place of the old ones.

    Without that, XLA keeps intermediate results where outputs are written later.
    """
    theta = jax.eval_shape(network.init, jax.random.key(0), *args)
    compiled = jax.jit(network.apply, donate_argnums=(1, 3)).lower(theta, *args).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def measure_steps(seconds: float) -> dict[str, Any]:
    """Temporary memory and time of steps, whole and block by block, in turn."""
    spec = wide_transformer()
    trees = [random_features(spec, jax.random.key(n), width) for n, width in enumerate((1, 1, 6))]
    params, grad = (jax.tree.map(lambda x: x[..., 0], tree) for tree in trees[:2])
    args = (params, grad, trees[2], jnp.float32(100))
    networks = {
        f"{last}, {how}": step_network(spec, last, how == "in blocks")
        for last in ("pointwise", "tied", "per_pair")
        for how in ("whole", "in blocks")
    }
    running = {name: Contestant(network, *args) for name, network in networks.items()}
    for contestant in running.values():
        contestant.call()
        contestant.seconds.clear()
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(contestant.seconds) < 5:
        for contestant in running.values():
            contestant.call()
    size = sum(x.nbytes for x in jax.tree.leaves(params))
    results = {}
    for name, contestant in running.items():
        whole = running[f"{name.split(', ')[0]}, whole"]
        pairs = zip(contestant.seconds, whole.seconds, strict=True)
        results[name] = contestant.figures | {
            "parameter_bytes": size,
            "times_parameters": contestant.figures["temporary_bytes"] / size,
            "donated_times_parameters": donated_bytes(networks[name], *args) / size,
            "calls": len(contestant.seconds),
            "median_seconds": float(np.median(contestant.seconds)),
            "ratio": float(np.median([own / other for own, other in pairs])),
        }
    return results


def step_table(results: dict[str, dict[str, Any]]) -> Table:
    """The same as a table."""
    shown = Table("last layer", "temporaries", "/ parameters", "donated", "run", "ratio", "compile")
    for name, figures in results.items():
        shown.add_row(
            name,
            f"{figures['temporary_bytes'] / 1e6:.0f} MB",
            f"{figures['times_parameters']:.1f}",
            f"{figures['donated_times_parameters']:.1f}",
            f"{figures['median_seconds'] * 1e3:.0f} ms",
            f"{figures['ratio']:.2f}",
            f"{figures['compile_seconds']:.1f} s",
        )
    return shown


# ------------------------------------------------------------------------------------- output
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


def write(output: pathlib.Path, results: dict[str, Any]) -> None:
    """The figures, and what they were measured on, as JSON."""
    output.parent.mkdir(parents=True, exist_ok=True)
    record = {"device": str(jax.devices()[0]), "jax": jax.__version__, "results": results}
    output.write_text(json.dumps(record, indent=2))


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--networks", nargs="*", default=available(), choices=available())
    parser.add_argument("--seconds", type=float, default=20, help="of calls for each weight space")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/layers.json"))
    parser.add_argument("--markdown", type=pathlib.Path, help="only print this file as a table")
    parser.add_argument("--step", action="store_true", help="memory of an optimizer's step")
    args = parser.parse_args()
    if args.step:
        steps = measure_steps(args.seconds)
        Console(width=140).print(step_table(steps))
        write(args.output, steps)
        return
    if args.markdown:
        print(markdown(json.loads(args.markdown.read_text())["results"]))
        return
    results: dict[str, Any] = {}
    for case in args.cases:
        spec, left_out = CASES[case]()
        names = [name for name in args.networks if name not in left_out]
        results[case] = measure(spec, names, args.seconds)
        Console(width=140).print(table({case: results[case]}))
        write(args.output, results)


if __name__ == "__main__":
    main()
