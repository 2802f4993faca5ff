"""What a configuration for GitHub main of the ecosystem imports; stops with the release."""

from unf_lopt.ecosystem import configurables
from unf_lopt.ecosystem._version import require_version

__all__ = ["configurables"]

require_version("main")
