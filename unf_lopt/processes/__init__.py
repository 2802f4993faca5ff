"""The processes of one run: what they tell each other, how they end, how they are started."""

from unf_lopt.processes.connected import AGAIN, ConnectedGroup
from unf_lopt.processes.group import Group, ProcessError
from unf_lopt.processes.join import end_with_launcher, joined
from unf_lopt.processes.launcher import Launcher

__all__ = [
    "AGAIN",
    "ConnectedGroup",
    "Group",
    "Launcher",
    "ProcessError",
    "end_with_launcher",
    "joined",
]
