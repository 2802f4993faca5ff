"""How a process takes part in a run of several: where the others are, and JAX's own runtime."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping

from unf_lopt.processes.connected import AGAIN, ConnectedGroup
from unf_lopt.processes.group import ProcessError

# The process that started this one, which must not outlive it.
LAUNCHER = "UNF_LOPT_LAUNCHER"
_FLAGS = "--coordinator_address=HOST:PORT --num_processes=N --process_id=I"


@contextlib.contextmanager
def joined(
    address: str | None,
    number: int | None,
    own: int | None,
    same: Mapping[str, str],
    start_seconds: float,
) -> Iterator[ConnectedGroup]:
    """This process as one of a run's, on JAX's multi-process runtime, until it is done.

    Has to come before anything is computed. What is not given is what JAX detects of SLURM, Open
    MPI, a TPU pod or Kubernetes. The processes meet at the address; JAX's coordinator has the next
    port. Both are bound to that address alone.

    Args:
      address: ``HOST:PORT`` of the first process.
      number: how many processes there are.
      own: the number of this one, from 0.
      same: what has to be the same for all, texts by name.
      start_seconds: how long the processes may take to be there.

    Raises:
      ProcessError: they do not come together, or one differs from the others.
    """
    import jax  # here, so that asking for help need not wait for it
    from jax.experimental import multihost_utils

    address, number, own = _detected(address, number, own, start_seconds)
    host, port = _parts(address)
    group = ConnectedGroup((host, port), number, own, same, start_seconds)
    # JAX would swallow SIGTERM, on which a run saves.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    runtime = f"{host}:{port + 1}"
    # All are there, and whoever ends later is missed by the group sooner than by JAX.
    jax.distributed.initialize(
        runtime,
        number,
        own,
        initialization_timeout=int(start_seconds) + 10,
        coordinator_bind_address=runtime,
        cluster_detection_method="deactivate",
    )
    devices = group.gather("devices", jax.local_device_count())
    for process, count in enumerate(devices):
        if count != devices[0]:
            raise ProcessError(
                f"process {process} has {count} device(s), and process 0 has {devices[0]}: "
                "workers are shared out equally, so all need the same number."
            )
    with group.waiting("the first exchange"):  # at once: later, processes compile at odds
        multihost_utils.sync_global_devices("start")
    yield group
    group.done()
    jax.distributed.shutdown()


def end_with_launcher() -> None:
    """Ends this process when the one that started it has ended, if :data:`LAUNCHER` names it."""
    launcher = int(os.environ.get(LAUNCHER, "0"))
    if not launcher:
        return
    if sys.platform == "linux":  # holds for a process that is stopped, too
        kill_with_parent = 1, 9  # PR_SET_PDEATHSIG, SIGKILL
        ctypes.CDLL(None).prctl(*kill_with_parent)

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1.0)
        os._exit(AGAIN)

    threading.Thread(target=watch, daemon=True).start()


def _detected(
    address: str | None, number: int | None, own: int | None, seconds: float
) -> tuple[str, int, int]:
    """Fills in what JAX detects of a cluster, as ``jax.distributed.initialize`` does."""
    if None in (address, number, own):
        # What initialize calls; it has no public name.
        from jax._src.clusters import ClusterEnv

        with contextlib.suppress(ValueError, RuntimeError, OSError):
            address, number, own, _ = ClusterEnv.auto_detect_unset_distributed_params(
                address, number, own, None, None, int(seconds)
            )
    if address is None or number is None or own is None:
        raise ProcessError(
            f"--distributed: JAX detects no cluster here (SLURM, Open MPI, a TPU pod, Kubernetes): "
            f"give {_FLAGS}."
        )
    if not 0 <= own < number:
        raise ProcessError(
            f"--process_id={own}: must be from 0 to {number - 1} (--num_processes={number})."
        )
    return address, number, own


def _parts(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65535:
        raise ProcessError(f"--coordinator_address={address}: must be HOST:PORT, as in {_FLAGS}.")
    return host.strip("[]"), int(port)
