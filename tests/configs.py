"""Real configurations, made small enough for a test."""

import gin

import unf_lopt.register  # noqa: F401 (brings the names)

TINY = (
    "OUTER_STEPS = 4",
    "HORIZON = 6",
    "TRUNC_LENGTH = 2",
    "STEPS_PER_JIT = 2",
    "NUM_TASKS = 2",
    "unf.hidden_channels = 4",
    "unf_universal.hidden_channels = 4",
    "nfn.hidden_channels = 4",
    "deep_sets.hidden_channels = 4",
    "digits_mlp_family.batch_size = 16",
    "digits_mlp_family.hidden_sizes = (4,)",
    "docs_rnn_family.embedding_size = 3",
    "docs_rnn_family.hidden_size = 4",
    "docs_rnn_family.length = 5",
    "docs_rnn_family.batch_size = 6",
)


def configure(*bindings, config="digits_mlp.gin"):
    """Reads a config of the package anew, tiny, with further bindings."""
    gin.clear_config()
    gin.parse_config_files_and_bindings([config, "small.gin"], [*TINY, *bindings])
