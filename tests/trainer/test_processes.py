"""Several processes and models with parameters that nothing reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sepexp import build
from sepexp.cli.compose import compose, plain
from sepexp.trainer.processes import Processes, has_unread_parameters, leave_group

SPEECH = [
    "model=conv_tasnet_speech", "model.bases=8", "model.bottleneck=8", "model.hidden=8",
    "model.blocks=2", "model.repeats=1", "model.skip=8",
]  # fmt: skip
META = [
    "model=meta_tasnet_small", "model.bases=[8,16]", "model.kernels=[10,20]",
    "model.n_ffts=[64,128]", "model.compressed=8", "model.width=8", "model.hidden=8",
    "model.blocks=2", "model.repeats=1", "model.groups=2",
]  # fmt: skip


def make(overrides: list[str]) -> nn.Module:
    torch.manual_seed(0)
    return build.model(plain(compose(overrides))).train()


def step(model: nn.Module, channels: int) -> None:
    model(torch.randn(1, channels, 4000)).waveforms.square().mean().backward()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    yield
    leave_group()


@pytest.mark.parametrize(
    ("overrides", "unread"),
    [
        (SPEECH, False),  # nothing reads its last residual, but one product makes it and the skip
        ([*SPEECH, "model.last_residual=false"], False),
        ([*SPEECH, "model=conv_tasnet", "model.skip=0"], False),
        (META, True),
        ([*META, "model.last_residual=false"], True),  # the lower stage's decoder
        (
            [*META, "model.bases=[16]", "model.kernels=[20]", "model.n_ffts=[128]",
             "model.last_residual=false"],
            False,
        ),
    ],
)  # fmt: skip
def test_models_know_what_a_loss_of_waveforms_leaves_without_gradient(
    overrides: list[str], unread: bool
) -> None:
    model = make(overrides)
    step(model, model.channels)
    assert any(p.grad is None for p in model.parameters()) == unread
    assert has_unread_parameters(model) == unread


@pytest.mark.parametrize("overrides", [SPEECH, META])
def test_published_counts_train_in_several_processes(group: None, overrides: list[str]) -> None:
    model = make(overrides)
    parallel = DistributedDataParallel(model, find_unused_parameters=has_unread_parameters(model))
    step(parallel, model.channels)
    step(parallel, model.channels)


def test_torch_refuses_the_second_step_where_nobody_says_so(group: None) -> None:
    model = make(META)
    unprepared = DistributedDataParallel(model)
    step(unprepared, model.channels)
    with pytest.raises(RuntimeError, match="parameters"):
        step(unprepared, model.channels)


@pytest.mark.parametrize("unread", [True, False])
def test_the_strategy_is_told(unread: bool) -> None:
    strategy = Processes(command=["true"], unread=unread)
    assert strategy._ddp_kwargs["find_unused_parameters"] == unread
