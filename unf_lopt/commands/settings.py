"""What every number, text and choice of a configuration may be, in one table."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import gin.config

from unf_lopt.commands.values import LARGEST, ByName, Made, Number, OneOf, Several, Text
from unf_lopt.ecosystem.config_names import nearest
from unf_lopt.ecosystem.config_text import Binding, ConfigText
from unf_lopt.runs import Macro, Reference, parts

COUNT = Number(1, LARGEST, whole=True)
NATURAL = Number(0, LARGEST, whole=True)
SEED = Number(0, 2**32 - 1, whole=True)
POSITIVE = Number(0, above=True)
FLAG = OneOf((True, False))
LOPT = Made("a learned optimizer", "@unf()")
FAMILY = Made("a task family", "@digits_mlp_family()")
SPREAD = Number(0, 10, above=True)

_STEP = {
    "mode": OneOf(("paper", "released")),
    "nominal": OneOf(("momentum", "adam", "none")),
    "scalars": OneOf(("log", "raw", "constant", None)),
    "momentum": OneOf(("sum", "average", None)),
    "inputs": OneOf(("raw", "tensor_rms", "channel_rms", None)),
    "correction": OneOf(("absolute", "relative", "rescaled")),
    "weight_decay": Number(0),
    "gradient_clip": Number(0, above=True, optional=True),
    "initial_alpha": Number(0, above=True, optional=True),
    "initial_beta": Number(0, above=True, optional=True),
    "initial_epsilon": Number(0, above=True, optional=True),
    "initial_gamma": Number(0, 1, above=True, optional=True),
    "initial_beta1": Number(0, 1, above=True, optional=True),
    "initial_beta2": Number(0, 1, above=True, optional=True),
}
_FUNCTIONAL = {
    **_STEP,
    "task_family": Made("a task family or task", "@digits_mlp_family()"),
    "hidden_channels": COUNT,
    "hidden_layers": NATURAL,
    "fixed_axes": OneOf(("exchangeable", "positional", "free")),
    "balanced": FLAG,
    "verify": FLAG,
    "roles": FLAG,
    "cross_terms": FLAG,
}
_MIXED = {
    "task_family": _FUNCTIONAL["task_family"],
    "directions": Several(Text(), example="('adam', 'normalized')"),
    "functional": NATURAL,
    "newton_schulz_steps": COUNT,
    "dense_newton_schulz_steps": Number(1, LARGEST, whole=True, optional=True),
    "newton_schulz": OneOf(("quintic", "minimax")),
    "orthogonalized_rank": Number(1, LARGEST, whole=True, optional=True),
    "heads": FLAG,
    "gradient_clip": _STEP["gradient_clip"],
    "weight_decay": _STEP["weight_decay"],
}
_TASK = {
    "batch_size": COUNT,
    "data_seed": SEED,
    "hidden_sizes": Several(COUNT),
    "channels": Several(COUNT),
    "embedding_size": COUNT,
    "hidden_size": COUNT,
    "length": COUNT,
    "num_blocks": COUNT,
    "width": COUNT,
    "num_heads": COUNT,
}
_ESTIMATOR = {
    "num_tasks": COUNT,
    "trunc_length": COUNT,
    "steps_per_jit": COUNT,
    "unroll_length": COUNT,
    "random_initial_iteration_offset": NATURAL,
    "std": SPREAD,
    "stack_antithetic_samples": FLAG,
    "trunc_sched": Made("a truncation schedule", "@ConstantTruncationSchedule()"),
}

# By configurable and parameter. What is not here has the type of its annotation.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "train": {
        "lopt": LOPT,
        "num_steps": COUNT,
        "num_estimators": COUNT,
        "num_workers": COUNT,
        "seed": SEED,
        "init_theta_from": Text(),
        "save_every_seconds": Number(0),
        "theta_averaging": Number(0, 1, above=True, optional=True),
        "estimator_fn": Made("a gradient estimator", "@HorizonES", called=False, optional=True),
        "task_families": Several(FAMILY, empty=True),
    },
    "evaluate": {
        "lopt": LOPT,
        "task_family": FAMILY,
        "horizon": COUNT,
        "num_seeds": COUNT,
        "num_tuning_seeds": COUNT,
        "eval_every": COUNT,
        "eval_batches": COUNT,
        "seed": SEED,
        "target": OneOf(("train", "test")),
        # By the names that evaluation's table has, which evaluation checks.
        "baselines": Several(Text(), example="('adam', 'nadamw')"),
        "learning_rates": Several(POSITIVE, optional=True, empty=True),
        "thetas": Several(Text(), empty=True, example="('universal', 'mine=runs/unf')"),
        "cache_dir": Text(),
    },
    "held_out": {"only": Several(Text(), example="('bytes_*', 'digits_linear')")},
    "training_suite": {"only": Several(Text(), example="('conv_*', 'bigram')")},
    **dict.fromkeys(("unf", "nfn", "unf_universal", "deep_sets", "learned_sgdm"), _FUNCTIONAL),
    "step_options": _STEP,
    **dict.fromkeys(
        (
            "TruncatedPES",
            "TruncatedES",
            "TruncatedGrad",
            "FullES",
            "VectorizedLOptTruncatedStep",
        ),
        _ESTIMATOR,
    ),
    "build_gradient_estimators": {
        "gradient_estimator_fn": Made("a gradient estimator", "@TruncatedPES", called=False),
    },
    "sample_single_task_family": {"task_family": FAMILY},
    "ConstantTruncationSchedule": {"total_length": COUNT},
    "GradientLearner": {
        "num_steps": COUNT,
        "theta_opt": Made("a meta-optimizer", "@norm_clipped_adam()"),
    },
    # A meta-step of 10 moves every number of theta by 10.
    "norm_clipped_adam": {
        "learning_rate": ByName(Number(0, 10)),
        "max_norm": POSITIVE,
        "decay": OneOf(("constant", "linear", "cosine")),
        "num_steps": COUNT,
    },
    "weight_space": {"verify": FLAG, "randomness": OneOf(("frozen", "in_distribution"))},
    "mixed_step": _MIXED,
    "unf_controller": {**_MIXED, "width": COUNT, "pooling": FLAG},
    "trained": {"theta": Text()},
    "HorizonES": {"num_pairs": COUNT, "std": ByName(SPREAD)},
    "NoiseReuseES": {"num_pairs": COUNT, "trunc_length": COUNT, "std": ByName(SPREAD)},
    "TruncatedBackprop": {"num_runs": COUNT, "trunc_length": COUNT, "clip": POSITIVE},
    "horizons": {"longest": COUNT, "shortest": COUNT},
    "objective": {
        "kind": OneOf(("mean", "log")),
        "start": Number(0, 1),
        "split": OneOf(("train", "inner_valid")),
    },
    "run_train": {"num_steps": COUNT, "num_estimators": COUNT},
    "spec_from_names": {"task_family": FAMILY},
    "varied_families": {
        "family": Made("what makes task families", "@digits_mlp_family", called=False),
    },
    "drawn_sizes": {
        "count": COUNT,
        "widths": Several(COUNT, example="(16, 64)"),
        "depths": Several(COUNT, example="(1, 3)"),
        "seed": SEED,
    },
    "single_task_to_family": {"task": Made("a task", "@digits_mlp()")},
    "FixedDimQuadraticFamily": {"dim": COUNT},
    **{
        f"{task}{family}": _TASK
        for task in ("digits_mlp", "digits_cnn", "docs_rnn", "docs_transformer")
        for family in ("", "_family")
    },
}
_DIVISORS = (("TruncatedPES", "steps_per_jit", "trunc_length"),)
_REPLACED = {
    "TruncatedPESPMAP": "NUM_WORKERS, the number of devices, with ESTIMATOR=@TruncatedPES takes "
    "all of them"
}


def check(config: ConfigText) -> None:
    """Checks every value of a configuration against the table.

    Raises:
      ValueError: the first that is not allowed; says what is.
    """
    for binding in config.bindings:
        value, macro = config.resolve(binding.value)
        _check_not_replaced(binding.configurable, value)
        allowed = _allowed(binding)
        if allowed is None or isinstance(value, Macro):
            continue
        if isinstance(value, Reference) and value.called:
            if isinstance(allowed, Several) and isinstance(allowed.each, Made):
                continue  # what it makes is seen when it is made
            if not isinstance(allowed, Made):
                value = gin.get_configurable(value.name)()
        if allowed.allows(value):
            continue
        shown = f"{macro}={value!r}" if macro else f"{binding}={value!r}"
        of = f" (that is {binding})" if macro else ""
        raise ValueError(f"{shown}: must be {allowed}{of}.{_hint(value, allowed)}")
    for divisor in _DIVISORS:
        _check_divisor(config, *divisor)


def check_kinds(of: str = "sample_single_task_family") -> None:
    """Builds the task family of the configuration, and checks that it is one.

    Args:
      of: the configurable whose it is.

    Raises:
      ValueError: it is not.
    """
    from unf_lopt import ecosystem

    bound = gin.get_bindings(of, resolve_references=False).get("task_family")
    found = copy.deepcopy(bound)  # as gin resolves a reference
    if found is not None and not isinstance(found, ecosystem.TaskFamily):
        raise ValueError(
            f"{of}.task_family makes {type(found).__name__}: must be {FAMILY}; of a task "
            "@single_task_to_family() makes one."
        )


def _check_not_replaced(configurable: str, value: Any) -> None:
    named = [part.name for part in parts(value) if isinstance(part, Reference)]
    for name in (own.rpartition(".")[2] for own in (configurable, *named)):
        if name in _REPLACED:
            raise ValueError(f"{name} is no longer used: {_REPLACED[name]}.")


def _allowed(binding: Binding) -> Any:
    name = binding.configurable.rpartition(".")[2]
    allowed = SETTINGS.get(name, {}).get(binding.parameter)
    return _annotated(binding) if allowed is None else allowed


def _annotated(binding: Binding) -> Any:
    """What the annotation of a parameter says, for numbers and texts."""
    found = gin.config._REGISTRY.get_match(binding.configurable)
    if found is None:
        return None
    try:
        parameter = inspect.signature(found.wrapped).parameters[binding.parameter]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    kind = parameter.annotation
    kind = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    optional = parameter.default is None
    if kind == "int":
        return Number(whole=True, optional=optional)
    if kind == "float":
        return Number(optional=optional)
    if kind == "bool":
        return FLAG
    return Text() if kind == "str" else None


def _hint(value: Any, allowed: Any) -> str:
    if isinstance(allowed, Number) and isinstance(value, float) and value.is_integer():
        return f" Write {int(value)}." if allowed.whole else ""
    if isinstance(allowed, OneOf) and isinstance(value, str):
        return nearest(value, [choice for choice in allowed.choices if isinstance(choice, str)])
    if isinstance(value, str) and not isinstance(allowed, Text):
        return " It is in quotes, which make a text of it."
    if isinstance(allowed, Made) and isinstance(value, Reference) and allowed.called:
        return f" Write {value!r}()."
    return ""


def _check_divisor(config: ConfigText, name: str, divisor: str, multiple: str) -> None:
    values: dict[str, tuple[Any, str]] = {}
    for binding in config.bindings:
        if binding.configurable.rpartition(".")[2] == name and not binding.scope:
            value, macro = config.resolve(binding.value)
            values[binding.parameter] = value, macro or str(binding)
    small, small_name = values.get(divisor, (None, ""))
    large, large_name = values.get(multiple, (None, ""))
    if isinstance(small, int) and isinstance(large, int) and large % small:
        fits = max(number for number in range(1, min(small, large) + 1) if large % number == 0)
        raise ValueError(
            f"{small_name}={small}: must divide {large_name}={large}; {fits} does, for example."
        )
