"""The one LightningModule: targets, missing stems, whole-song scores."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sepexp.data.batch import Batch, Whole
from sepexp.inference import Inference
from sepexp.loss.time import L1
from sepexp.separation import Separation
from sepexp.separator import Separator, membership, target_names

SOURCES = ["vocals", "drums", "bass"]
GROUPED = ["vocals", {"accompaniment": ["drums", "bass"]}]


class Fixed(nn.Module):
    """Gives every target the same share of the mixture, and reads `context` around it."""

    def __init__(self, targets: int, context: int = 0) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = 8000, 2, context
        self.share = nn.Parameter(torch.full((targets, 1, 1), 0.5))

    def forward(self, mixture: Tensor) -> Separation:
        inner = mixture[..., self.context : mixture.shape[-1] - self.context]
        return Separation(self.share * inner[:, None])


class Told(nn.Module):
    """A loss that is any function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        return self.function(estimate, truth, mixture)


def separator(targets: list, context: int = 0) -> Separator:
    module = Separator(
        model=Fixed(len(targets), context),
        loss=L1(),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        scheduler={"scheduler": None, "interval": "epoch"},
        sources=SOURCES,
        targets=targets,
        inference=Inference(0.5, 0.25, 2, 1.0, 0, 0.5),
        sample_rate=8000,
    )
    module.log = lambda name, value, **more: logged.__setitem__(
        name, float(torch.as_tensor(value).detach())
    )  # type: ignore
    module._trainer = type("T", (), {"world_size": 1})()
    return module


logged: dict[str, float] = {}


def batch(stems: Tensor, present: Tensor) -> Batch:
    items = len(stems)
    songs = torch.zeros(items, len(SOURCES), dtype=torch.int64)
    return Batch(stems, present, torch.arange(items), songs, {})


def test_targets_are_stems_or_named_groups() -> None:
    assert target_names(GROUPED) == ["vocals", "accompaniment"]
    assert membership(SOURCES, GROUPED).tolist() == [[1, 0, 0], [0, 1, 1]]


def test_the_loss_is_the_mean_over_what_is_there() -> None:
    module = separator(GROUPED)
    stems = torch.ones(2, 3, 2, 100)
    present = torch.tensor([[True, True, True], [True, True, False]])
    stems[1, 2] = 0
    # item 0: mixture 3, half 1.5, vocals 1, accompaniment 2; item 1 lacks half its accompaniment
    losses = [abs(1.5 - 1), abs(1.5 - 2), abs(1.0 - 1)]
    loss = module.training_step(batch(stems, present), 0)
    assert loss.item() == pytest.approx(sum(losses) / 3)


def test_a_missing_target_may_be_no_number() -> None:
    module = separator(GROUPED)
    module.loss = Told(lambda *_: torch.tensor([[1.0, float("nan")]]))
    present = torch.tensor([[True, False, True]])
    assert module.training_step(batch(torch.ones(1, 3, 2, 10), present), 0).item() == 1.0


def test_the_loss_sees_the_centre_of_a_chunk_with_context() -> None:
    module = separator(GROUPED, context=20)
    seen = []

    def look(estimate: Separation, truth: Separation, mixture: Tensor) -> Tensor:
        seen.append((estimate.waveforms.shape, truth.waveforms.shape, mixture.shape))
        return torch.zeros(1, 2)

    module.loss = Told(look)
    module.training_step(batch(torch.ones(1, 3, 2, 140), torch.ones(1, 3, dtype=torch.bool)), 0)
    assert seen == [((1, 2, 2, 100), (1, 2, 2, 100), (1, 2, 100))]


def test_validation_scores_whole_songs_and_skips_silent_targets() -> None:
    module = separator(["vocals", "drums", "bass"])
    torch.manual_seed(0)
    stems = torch.randn(3, 2, 16000)
    stems[2] = 0  # silent throughout
    whole = Whole("song", stems.sum(0), stems, torch.tensor([True, True, True]))
    module.validation_step(whole, 0)
    assert module.validation_step(Whole("", stems.sum(0), stems, whole.present), 1) is None
    module.on_validation_epoch_end()
    expected = 10 * torch.log10(
        stems[0].square().sum() / (0.5 * stems.sum(0) - stems[0]).square().sum()
    )
    assert logged["valid/sdr/vocals"] == pytest.approx(expected.item(), abs=0.3)
    both = (logged["valid/sdr/vocals"] + logged["valid/sdr/drums"]) / 2
    assert logged["valid/sdr"] == pytest.approx(both)
    assert logged["valid/sdr/bass"] != logged["valid/sdr/bass"]  # NaN
    assert module.scores == {}


def test_ranks_scores_are_gathered_by_song_and_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two ranks with unequal shares, and a third that had no song."""
    stems = torch.randn(3, 2, 16000, generator=torch.Generator().manual_seed(0))
    none = torch.ones(3, dtype=torch.bool)
    songs = {
        name: Whole(name, level * stems.sum(0), stems * level, none)
        for name, level in (("a", 1.0), ("b", 0.1), ("c", 0.3))
    }
    songs["b"].stems[0].add_(0.2 * torch.randn(2, 16000))
    marker = Whole("", torch.zeros(2, 0), torch.zeros(3, 2, 0), none)
    shares = [[songs["c"]], [songs["b"], songs["a"]], [marker]]
    parts = []
    for share in shares:
        module = separator(SOURCES)
        for place, song in enumerate(share):
            module.validation_step(song, place)
        parts.append(module.scores)
    assert [list(part) for part in parts] == [["c"], ["b", "a"], []]

    def gather(into: list, mine: dict) -> None:
        into[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    found = []
    for rank in range(3):
        module = separator(SOURCES)
        module.scores = parts[rank]
        module._trainer.world_size = 3
        logged.clear()
        module.on_validation_epoch_end()
        found.append(dict(logged))
    alone = separator(SOURCES)
    for place, name in enumerate("abc"):
        alone.validation_step(songs[name], place)
    logged.clear()
    alone.on_validation_epoch_end()
    assert found == [dict(logged)] * 3 and logged["valid/sdr"] == logged["valid/sdr"]


@pytest.mark.parametrize("scaler", [None, object()])
def test_a_fused_step_gives_way_to_scaled_gradients(scaler: object) -> None:
    module = separator(SOURCES)
    module.optimizer = functools.partial(torch.optim.Adam, lr=0.1, fused=True)
    plugin = type("P", (), {"scaler": scaler})()
    module._trainer = type("T", (), {"world_size": 1, "precision_plugin": plugin})()
    made = module.configure_optimizers()
    assert made.defaults["fused"] is (scaler is None)
