"""What a configuration for the release of the ecosystem imports; stops with GitHub main."""

from unf_lopt.ecosystem import configurables
from unf_lopt.ecosystem._version import require_version

__all__ = ["configurables"]

require_version("release")
