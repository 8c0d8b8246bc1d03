"""Several processes for one run, also from a sweep and from an installed command.

Lightning starts the other ranks by repeating the command line of the first. Of a sweep's job that
repeats the whole sweep, and of a job without a fixed folder it makes another run folder. So the
other ranks get a command of their own: the overrides of this job and the folder of this run.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import nn

RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class _CommandLauncher(_SubprocessScriptLauncher):
    """Starts the other ranks of this machine with a given command."""

    command: Sequence[str]

    def _call_children_scripts(self) -> None:
        self._check_can_spawn_children()
        environment = self.cluster_environment
        shared = {
            "MASTER_ADDR": environment.main_address,
            "MASTER_PORT": str(environment.main_port),
            "NODE_RANK": str(environment.node_rank()),
            "LOCAL_RANK": str(environment.local_rank()),
            "WORLD_SIZE": str(self.num_processes * self.num_nodes),
        }
        os.environ.update(shared)
        for rank in range(1, self.num_processes):
            child = os.environ | {"LOCAL_RANK": str(rank)}
            self.procs.append(subprocess.Popen(list(self.command), env=child))


class Processes(DDPStrategy):
    """Data-parallel training in which the other ranks run a command that the caller chooses.

    Args:
        command: What the other ranks of this machine run.
        unread: Whether some parameters get no gradient. Gradients are exchanged when all have
            come, and without knowing it would wait for these forever.
    """

    def __init__(self, *, command: Sequence[str], unread: bool = False) -> None:
        super().__init__(find_unused_parameters=unread)
        self.command = command

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        if self.cluster_environment.creates_processes_externally:
            super()._configure_launcher()
            return
        launcher = _CommandLauncher(self.cluster_environment, self.num_processes, self.num_nodes)
        launcher.command = self.command
        self._launcher = launcher


def has_unread_parameters(model: nn.Module) -> bool:
    """Whether a model says of any of its modules that some parameters may get no gradient.

    Published counts contain such parameters, so they are built (`last_residual` of Meta-TasNet).
    """
    return any(getattr(module, "has_unread_parameters", False) for module in model.modules())


def leave_group() -> None:
    """Forget this job's process group, so that the next job of a sweep can make its own."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
