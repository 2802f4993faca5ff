"""The folder of a run: names, whole files, manifests, the lock, the configuration as data."""

from unf_lopt.runs.checkpoints import (
    complete_steps,
    read_checkpoint,
    set_damaged_apart,
    settle_pending,
    write_checkpoint,
)
from unf_lopt.runs.configuration import (
    Configuration,
    GinAsData,
    Macro,
    Reference,
    differences,
    parts,
    read_configuration,
)
from unf_lopt.runs.errors import DamagedCheckpoint, RunError
from unf_lopt.runs.files import checksum, read_file, write_whole
from unf_lopt.runs.lock import only_trainer
from unf_lopt.runs.names import (
    CONFIG,
    LEARNER,
    LOCK,
    MANIFEST,
    METRICS,
    OPERATIVE_CONFIG,
    PARAMS,
    PENDING,
    THETA,
    UNROLLS,
    file_name,
    step_of,
    steps,
    theta_file,
)

__all__ = [
    "CONFIG",
    "LEARNER",
    "LOCK",
    "MANIFEST",
    "METRICS",
    "OPERATIVE_CONFIG",
    "PARAMS",
    "PENDING",
    "THETA",
    "UNROLLS",
    "Configuration",
    "DamagedCheckpoint",
    "GinAsData",
    "Macro",
    "Reference",
    "RunError",
    "checksum",
    "complete_steps",
    "differences",
    "file_name",
    "only_trainer",
    "parts",
    "read_checkpoint",
    "read_configuration",
    "read_file",
    "set_damaged_apart",
    "settle_pending",
    "step_of",
    "steps",
    "theta_file",
    "write_checkpoint",
    "write_whole",
]
