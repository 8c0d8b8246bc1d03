"""What can be known before the first step, said before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sepexp.errors import UserError
from sepexp.metric.by_name import chosen


def check_devices(trainer: Mapping[str, Any]) -> None:
    """Refuse more GPUs than exist; on a machine without any, processes are asked for instead.

    Raises:
        UserError: trainer.devices wants GPUs that aren't there.
    """
    devices, accelerator = trainer.get("devices", 1), trainer.get("accelerator", "auto")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator in ("gpu", "cuda") and not gpus:
        raise UserError(
            f"trainer.accelerator={accelerator}, but this machine has no GPU that torch can use: "
            "leave it out, or set trainer.accelerator=cpu"
        )
    wanted = devices if isinstance(devices, int) else 0
    if accelerator in ("auto", "gpu", "cuda") and gpus and wanted > gpus:
        raise UserError(
            f"trainer.devices={wanted}, but this machine has {gpus} GPU(s): set trainer.devices="
            f"{gpus}, or trainer.accelerator=cpu for {wanted} processes without GPUs"
        )


def check_scores(metric: Mapping[str, Any]) -> None:
    """Refuse a score that nobody can compute now, not after days of training.

    Raises:
        UserError: metric.scores names an unknown one.
    """
    try:
        chosen(metric.get("scores") or ())
    except UserError as error:
        raise UserError(f"metric.scores: {error}") from None


def check_targets(sources: Sequence[str], targets: Sequence[Any]) -> None:
    """Refuse targets that no stem of the data can make.

    Raises:
        UserError: A target names an unknown stem, is listed twice, or there is none.
    """
    if not targets:
        raise UserError("targets is empty: name at least one stem, as targets=[vocals]")
    names = []
    for target in targets:
        if isinstance(target, str):
            names.append(target)
            parts = [target]
        elif isinstance(target, Mapping) and len(target) == 1:
            names.append(next(iter(target)))
            parts = list(next(iter(target.values())))
        else:
            raise UserError(
                f"target {target!r} is neither a stem nor a named group of stems: expected "
                "vocals or {accompaniment: [drums, bass, other]}"
            )
        unknown = [part for part in parts if part not in sources]
        if unknown or not parts:
            raise UserError(
                f"target {names[-1]} needs {', '.join(unknown) or 'at least one stem'}, but "
                f"sources are {', '.join(sources)}: change targets=... or sources=..."
            )
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise UserError(f"targets lists {', '.join(doubles)} twice: name each target once")


def check_model(
    model: Any, loss: nn.Module, *, segment: float, sample_rate: int, targets: int
) -> None:
    """Run one silent chunk through the model, so that shapes are wrong now and not in hours.

    Args:
        model: The model, on any device but meta.
        loss: The loss.
        segment: Seconds of a training chunk.
        sample_rate: Of the data, in Hz.
        targets: How many targets the config asks for.

    Raises:
        UserError: The chunk is too short for the model, or model, loss and targets don't fit.
    """
    if getattr(loss, "needs_spectra", False) and not hasattr(model, "analyse"):
        raise UserError(
            f"the loss compares the model's own spectra, but {type(model).__name__} estimates "
            "waveforms only: use loss=l1, loss=magnitude or loss=complex_spectrum"
        )
    samples = round(segment * model.sample_rate)
    least = shortest_chunk(model)
    if samples < least:
        raise UserError(
            f"data.segment={segment} s is a chunk of {samples} samples at {model.sample_rate} Hz, "
            f"but {type(model).__name__} needs at least {least} samples: set data.segment="
            f"{least / model.sample_rate:.2f} or more"
        )
    parameter = next(model.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    training = model.training
    model.eval()
    length = min(samples, 2 * max(least, model.sample_rate // 4))
    silent = torch.zeros(1, model.channels, length + 2 * model.context, device=device)
    with torch.no_grad():
        found = tuple(model(silent).waveforms.shape)
    model.train(training)
    expected = (1, targets, model.channels, length)
    if found != expected:
        raise UserError(
            f"{type(model).__name__} made {found} of a chunk, expected {expected} (batch, targets, "
            "channels, samples): check its targets and channels settings"
        )


def shortest_chunk(model: Any) -> int:
    """The fewest samples that a model can learn from: what it says, or its longest STFT frame."""
    stated = getattr(model, "shortest_chunk", 0)
    frames = [getattr(module, "n_fft", 0) for module in model.modules()]
    return max(1, int(stated), *(int(n) for n in frames if isinstance(n, int)))
