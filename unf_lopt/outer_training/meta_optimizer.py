"""The meta-optimizer: Adam on meta-gradients whose norm is clipped."""

import gin
import optax

from unf_lopt import ecosystem


@gin.configurable(module="unf_lopt")
def norm_clipped_adam(learning_rate: float, max_norm: float = 1.0) -> "ecosystem.OptaxOptimizer":
    """Adam after clipping the whole meta-gradient to a norm, as an ecosystem's optimizer.

    The ecosystem's release can only clip each number by itself.

    Args:
      learning_rate: of Adam.
      max_norm: largest Euclidean norm of the meta-gradient; the paper's is 1.
    """
    return ecosystem.OptaxOptimizer(
        optax.chain(optax.clip_by_global_norm(max_norm), optax.adam(learning_rate))
    )
