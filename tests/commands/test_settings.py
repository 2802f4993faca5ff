"""The table of what may be bound has every choice that the code has."""

import pytest

from unf_lopt.commands.settings import SETTINGS
from unf_lopt.estimators.objective import KINDS, SPLITS
from unf_lopt.evaluation import protocol
from unf_lopt.layers._fixed_axes import FIXED_AXES
from unf_lopt.optimizers import features, nominal, scalars, step
from unf_lopt.outer_training import meta_optimizer

CHOICES = {
    "step_options.nominal": nominal.NOMINALS,
    "step_options.scalars": scalars.PARAMETRIZATIONS,
    "step_options.momentum": features.MOMENTA,
    "step_options.inputs": features.INPUTS,
    "step_options.correction": step.CORRECTIONS,
    "unf.fixed_axes": FIXED_AXES,
    "objective.kind": KINDS,
    "objective.split": SPLITS,
    "evaluate.target": protocol.SPLITS,
    "norm_clipped_adam.decay": meta_optimizer.DECAYS,
}


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_can_be_bound(name):
    configurable, parameter = name.split(".")
    allowed = set(SETTINGS[configurable][parameter].choices) - {None}
    assert allowed == set(CHOICES[name])
