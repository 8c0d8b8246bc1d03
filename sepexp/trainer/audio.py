"""Audio examples and their pictures at every validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import matplotlib.image as mpimg
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from sepexp.audio import write_wav
from sepexp.plot import save, spectrogram_figure


class AudioExamples(Callback):
    """Log a few seconds of the first validation songs: mixture, truth and estimate.

    The same excerpt every time, where the targets are loudest, so that validations compare by ear.
    Files go to `audio/<song>/` of the run folder (the newest validation's), with a spectrogram
    picture beside them; TensorBoard and wandb get the same where they log.

    Args:
        folder: The run folder.
        songs: How many validation songs.
        seconds: Length of an excerpt.
    """

    def __init__(self, *, folder: str, songs: int, seconds: float) -> None:
        self.folder, self.songs, self.seconds = Path(folder), songs, seconds
        self.shown: list[str] = []

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the excerpts of one of the chosen songs."""
        if trainer.sanity_checking or not outputs or trainer.global_rank > 0:
            return
        name = outputs["name"]
        if name not in self.shown:
            if len(self.shown) >= self.songs:
                return
            self.shown.append(name)
        rate = pl_module.sample_rate
        cut = loudest(outputs["truth"], round(self.seconds * rate))
        parts = {"mixture": outputs["mixture"][..., cut]}
        for index, target in enumerate(pl_module.targets):
            parts[f"{target} truth"] = outputs["truth"][index][..., cut]
            parts[f"{target} estimate"] = outputs["estimate"][index][..., cut]
        arrays = {key: value.float().cpu().numpy() for key, value in parts.items()}
        folder = self.folder / "audio" / "valid" / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, audio in arrays.items():
            write_wav(folder / f"{key}.wav", audio, rate)
        save(spectrogram_figure(arrays, rate, title=name), folder / "spectrograms.png", dpi=80)
        picture = mpimg.imread(folder / "spectrograms.png")  # drawn once for all loggers
        for logger in trainer.loggers:
            _log(logger, name, arrays, picture, rate, trainer.global_step)


def loudest(truth: Tensor, length: int) -> slice:
    """Where the quietest of the targets that sound at all is loudest, in steps of a quarter.

    Shape: (targets, channels, samples).
    """
    samples = truth.shape[-1]
    if samples <= length:
        return slice(0, samples)
    energy = truth.square().sum(dim=1)
    blocks = energy.unfold(-1, length, max(1, length // 4)).mean(-1)
    sounding = blocks[blocks.amax(dim=1) > 0]
    if not len(sounding):
        return slice(0, length)
    level = sounding / sounding.amax(dim=1, keepdim=True)
    start = int(level.amin(dim=0).argmax()) * max(1, length // 4)
    return slice(start, start + length)


def _log(
    logger: Any,
    name: str,
    arrays: Mapping[str, np.ndarray],
    picture: np.ndarray,
    rate: int,
    step: int,
) -> None:
    if isinstance(logger, TensorBoardLogger):
        for key, audio in arrays.items():
            clipped = audio.mean(axis=0, keepdims=True).clip(-1, 1)
            logger.experiment.add_audio(f"{name}/{key}", clipped, step, rate)
        pixels = picture[..., :3]
        logger.experiment.add_image(f"{name}/spectrograms", pixels, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        import wandb

        sounds = {
            f"{name}/{key}": wandb.Audio(audio.T.clip(-1, 1), sample_rate=rate)
            for key, audio in arrays.items()
        }
        logger.experiment.log(sounds | {f"{name}/spectrograms": wandb.Image(picture)})
