"""Tasks and task families of `learned_optimization` as cases, in the version installed.

Their data are not here: a stand-in gives random batches of the real images' and texts' shapes,
only fewer examples to a batch. What a task is, the ecosystem itself builds.
"""

from __future__ import annotations

import contextlib
import functools
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.zoo import tables
from tests.symmetry.zoo.case import RAW_KEY, CannotBeBuilt, Case, Problem, problem
from tests.symmetry.zoo.data import ones_like, shapes_of
from unf_lopt import ecosystem

PyTree = Any
Shapes = dict[str, tuple[int, ...]]

FIXED_MODULES = (
    "conv",
    "es_wrapped",
    "image_mlp",
    "image_mlp_ae",
    "lopt",
    "mlp_mixer",
    "resnet",
    "rnn_lm",
    "transformer_lm",
    "vit",
)
PARAMETRIC_MODULES = (
    "image_conv",
    "image_mlp",
    "image_mlp_ae",
    "image_mlp_vae",
    "image_resnet",
    "lm_rnn",
    "lm_transformer",
    "lopt",
    "lopt_trunc",
    "vit",
)
LARGEST_BATCH = 8

_CLASSES = {"cifar100": 100, "food101": 101, "imagenet": 1000}
_VOCABULARY = {"bytes": 259, "32k": 32_100}


def ecosystem_cases(samples: int = 2) -> list[Case]:
    """Every fixed task, and ``samples`` of every parametric family, by name.

    What cannot be built is a case too; its ``build()`` raises :class:`CannotBeBuilt`.
    """
    cases = []
    with stand_in_data():
        for module in FIXED_MODULES:
            cases += _cases_of(f"fixed.{module}", _is_fixed_task, [_fixed_task])
        builders = [functools.partial(_sampled_task, seed=seed) for seed in range(samples)]
        for module in PARAMETRIC_MODULES:
            cases += _cases_of(f"parametric.{module}", _is_sampler, builders)
        cases += _cases_of("quadratics", _is_quadratic, [_quadratic])
    return cases


def _cases_of(module: str, wanted: Callable[..., bool], builders: list[Any]) -> list[Case]:
    family = f"ecosystem/{module.replace('.', '_')}"
    try:
        loaded = ecosystem.load(f"tasks.{module}")
    except ImportError as error:
        if error.name and error.name.endswith(f"tasks.{module}"):
            return []  # only the other version of the ecosystem has it
        return [Case(f"{family}/*", functools.partial(_missing, str(error.name)))]
    return [
        Case(
            f"{family}/{name}" + (f"/{number}" if len(builders) > 1 else ""),
            functools.partial(_build, builder, name, member),
        )
        for name, member in vars(loaded).items()
        if wanted(name, member)
        for number, builder in enumerate(builders)
    ]


def _missing(module: str) -> Problem:
    raise CannotBeBuilt(f"{module} is not installed")


def _is_fixed_task(name: str, member: Any) -> bool:
    is_factory = callable(member) and not isinstance(member, type)
    return is_factory and re.match(r"[A-Z]+[A-Za-z]*_|LOptPES_", name) is not None


def _is_sampler(name: str, member: Any) -> bool:
    return callable(member) and name.startswith("sample_")


def _is_quadratic(name: str, member: Any) -> bool:
    return isinstance(member, type) and "Quadratic" in name


Builder = Callable[[str, Any], tuple[Callable[[Any], Any], PyTree]]
"""From a member of the ecosystem's module to ``task_of(configuration)`` and a configuration."""


def _build(builder: Builder, name: str, member: Any) -> Problem:
    with stand_in_data():
        try:
            task_of, configuration = builder(name, member)
        except (AttributeError, ImportError, TypeError) as error:
            raise CannotBeBuilt(f"{type(error).__name__}: {error}".splitlines()[0]) from error
        return _problem_of(name, task_of, jax.tree.map(jnp.asarray, configuration))


def _fixed_task(name: str, make: Callable[[], Any]) -> tuple[Callable[[Any], Any], PyTree]:
    task = make()
    return lambda _: task, ()


def _sampled_task(
    name: str, sample: Callable[..., Any], seed: int
) -> tuple[Callable[[Any], Any], PyTree]:
    key = jax.random.PRNGKey(seed)
    family = ecosystem.load("tasks.parametric.cfgobject").object_from_config(sample(key))
    return family.task_fn, family.sample(key)


def _quadratic(name: str, kind: type) -> tuple[Callable[[Any], Any], PyTree]:
    needs = {
        "FixedDimQuadraticFamilyData": {"dim": 7},
        "NoisyQuadraticFamily": {"dim": 7, "cov": 1},
    }
    made = kind(**needs.get(name, {}))
    if not isinstance(made, ecosystem.TaskFamily):
        return lambda _: made, ()
    return made.task_fn, made.sample(jax.random.PRNGKey(0))


def _problem_of(name: str, task_of: Callable[[Any], Any], configuration: PyTree) -> Problem:
    """The problem of a task, whose configuration is one of the loss's arguments."""
    task = task_of(configuration)
    params, state = shapes_of(task.init_with_state, jax.random.PRNGKey(0))
    batch = next(task.datasets.train) if task.datasets else np.zeros((), np.float32)

    def loss(params: PyTree, state: PyTree, key: Any, batch: Any, configuration: PyTree) -> Any:
        with _replaced(_NUMPY_1):  # an inner training initializes parameters
            return task_of(configuration).loss_with_state(params, state, key, batch)

    table, state_table = _table_of(name, task, params)
    return problem(
        types.SimpleNamespace(keys=32, values=32),  # of the ecosystem's Transformer, always
        loss,
        table,
        (ones_like(state), RAW_KEY, batch, configuration),
        params=params,
        state_table=state_table or None,
        state_argnum=0,
        check_fixed_ties=False,
    )


# ------------------------------------------------------------------------- tables by hand
def _table_of(name: str, task: Any, params: PyTree) -> tuple[str, str]:
    """The rule of a task's architecture; empty where nobody wrote one down."""
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    for pattern, rule in _RULES.items():
        if re.search(pattern, name):
            found = rule(shapes, task)
            return found if isinstance(found, tuple) else (found, "")
    return "", ""


def _count(shapes: Shapes, pattern: str) -> int:
    return len({match[0] for path in shapes if (match := re.search(pattern, path))})


def _depth(shapes: Shapes) -> int:
    return _count(shapes, r"linear(_\d+)?/w") - 1


def _norm_in(shapes: Shapes) -> str:
    return next((norm for norm in ("batch_norm", "layer_norm") if norm in " ".join(shapes)), "")


def _optimizer(shapes: Shapes, task: Any) -> str:
    """A learned optimizer as a task: entry by entry, features in and a step out."""
    if _count(shapes, "^mlp"):
        return tables.mlp(_depth(shapes), last="[outputs]")
    if _count(shapes, "^nn"):
        return tables.adafactor_mlp_optimizer(_count(shapes, r"/w\d") - 1)
    return "\n".join(shapes)  # rates, which are scalars


def _resnet(shapes: Shapes, task: Any) -> tuple[str, str]:
    blocks = [_count(shapes, rf"block_group_{group}/~/block_\d+") for group in range(4)]
    projections = [
        _count(shapes, rf"block_group_{group}/~/block_0/~/shortcut_conv/w") > 0
        for group in range(4)
    ]
    return tables.resnet(
        version_2=not _count(shapes, "initial_batchnorm"),
        bottleneck=_count(shapes, "conv_2/w") > 0,
        blocks_per_group=blocks,
        use_projection=projections,
    )


def _cell(shapes: Shapes) -> str:
    return next(
        cell for cell in ("irnn", "vanilla_rnn", "gru", "lstm") if _count(shapes, f"^{cell}")
    )


def _transformer(shapes: Shapes, task: Any) -> str:
    # The parametric family's tasks drop out at its default rate, the fixed ones as configured.
    rate = getattr(task, "_cfg", {}).get("dropout_rate", 0.1)
    return tables.transformer_language_model(_count(shapes, r"h\d+_attn"), rate > 0)


_RULES: dict[str, Callable[[Shapes, Any], Any]] = {
    # A perturbation is drawn for every entry.
    r"^LOptPES": lambda shapes, _: tables.all_fixed(shapes),
    r"^LOpt_|sample_lopt$": _optimizer,
    r"ImageMLP.*Dropout": lambda shapes, _: tables.mlp(_depth(shapes), dropped=True),
    r"ImageMLP.*Norm_": lambda shapes, _: tables.normalized_mlp(_depth(shapes), _norm_in(shapes)),
    r"ImageMLPAE|image_mlp_ae": lambda shapes, _: tables.mlp(_depth(shapes), last="[pixels]"),
    r"ImageMLP|image_mlp(_subsample_data)?$": lambda shapes, _: tables.mlp(_depth(shapes)),
    r"Conv_|image_conv": lambda shapes, _: tables.conv_net(
        _count(shapes, "conv2_d.*/w"), _norm_in(shapes)
    ),
    r"Resnet|resnet": _resnet,
    r"RNNLM|lm_rnn": lambda shapes, _: tables.recurrent_language_model(_cell(shapes)),
    r"TransformerLM|lm_transformer": _transformer,
    # A sum of squares knows no order; a centre or noise of its own for every entry does.
    r"^Sum": lambda shapes, _: "a  entries\nb  entries",
    r"^NoisyMean": lambda shapes, _: tables.all_fixed(shapes),
    r"^(FixedDim|Noisy).*Family": lambda shapes, _: ".  [entries]",
    r"^(Batch|Log)?Quadratic": lambda shapes, _: ".  entries",
}


# ------------------------------------------------------------------------- data
@contextlib.contextmanager
def stand_in_data() -> Iterator[None]:
    """Within it the ecosystem's data sets are random numbers of their shapes.

    Also restores what the ecosystem's parametric families need of NumPy 1.
    """
    base = ecosystem.load("tasks.datasets.base")
    language = ecosystem.load_language_module()
    data = {
        (base, "preload_tfds_image_classification_datasets"): _image_datasets,
        (base, "tfds_image_classification_datasets"): _image_datasets,
        (base, "tfrecord_image_classification_datasets"): _image_datasets,
        (language, "get_32k_sentence_piece_vocab"): lambda: _vocabulary("32k"),
        (language, "get_bytes_vocab"): lambda: _vocabulary("bytes"),
        (language, "_make_datasets"): _text_datasets,
    }
    base.dataset_lru_cache_clear()
    try:
        with _replaced(data), _replaced(_NUMPY_1):
            yield
    finally:
        base.dataset_lru_cache_clear()


_NUMPY_1 = {(np, "product"): np.prod}  # gone from NumPy 2; the ecosystem's initializers call it


@contextlib.contextmanager
def _replaced(values: Mapping[tuple[types.ModuleType, str], Any]) -> Iterator[None]:
    """Sets attributes of modules for a while, given as ``{(module, name): value}``."""
    before = {place: vars(place[0]).get(place[1]) for place in values}
    for (module, name), value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name), value in before.items():
            if value is None:
                delattr(module, name)
            else:
                setattr(module, name, value)


def _vocabulary(kind: str) -> Any:
    return types.SimpleNamespace(vocab_size=_VOCABULARY[kind])


def _image_datasets(
    name: str,
    splits: Any,
    batch_size: int,
    image_size: tuple[int, int],
    stack_channels: int = 1,
    convert_to_black_and_white: bool = False,
    **options: Any,
) -> Any:
    colours = 1 if "mnist" in name or convert_to_black_and_white else 3
    classes = next((count for start, count in _CLASSES.items() if name.startswith(start)), 10)
    count = min(int(batch_size), LARGEST_BATCH)
    shape = (count, *image_size, stack_channels if stack_channels > 1 else colours)

    def batch(random: np.random.Generator) -> dict[str, np.ndarray]:
        image = random.random(shape, dtype=np.float32)
        return {"image": image, "label": random.integers(0, classes, count, dtype=np.int32)}

    return _datasets(batch, {"num_classes": classes})


def _text_datasets(
    name: str, vocab: Any, batch_size: int, sequence_length: int, *args: Any, **options: Any
) -> Any:
    shape = (min(int(batch_size), LARGEST_BATCH), int(sequence_length))

    def batch(random: np.random.Generator) -> dict[str, np.ndarray]:
        return {
            part: random.integers(1, vocab.vocab_size, shape, dtype=np.int32)
            for part in ("obs", "target")
        }

    return _datasets(batch, {"vocab_size": vocab.vocab_size, "vocab": vocab})


def _datasets(batch: Callable[[np.random.Generator], PyTree], extra_info: dict[str, Any]) -> Any:
    def batches() -> Iterator[PyTree]:
        random = np.random.default_rng(0)
        while True:
            yield batch(random)

    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), next(batches())
    )
    return ecosystem.Datasets(
        batches(), batches(), batches(), batches(), extra_info=extra_info, abstract_batch=abstract
    )
