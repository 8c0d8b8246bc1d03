"""Scores of a whole track by the names that tables give them; `card` holds their definitions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from sepexp.errors import UserError
from sepexp.metric import diagnostics, embedding, sdr, spectral
from sepexp.metric.bsseval_v3 import bss_eval_images, bss_eval_sources
from sepexp.metric.log_wmse import log_wmse

Score = Callable[[Tensor, Tensor, Tensor], Tensor]  # references, estimates, mixture -> (targets,)
Maker = Callable[[int, float, float], Score]  # sample rate (Hz), window and hop (seconds)

ALL = "all"
LEAK = "leak"


def track_scores(
    names: Iterable[str], sample_rate: int, window: float, hop: float
) -> dict[str, Score]:
    """Functions of (references, estimates, mixture) for the scores named.

    "all" stands for every score that needs no other package and no network; the embedding distances
    fetch their networks here. "leak" gives no function: see `leaks`.

    Args:
        names: Of `MAKERS` and `EMBEDDINGS`, or "all".
        sample_rate: Hz.
        window, hop: In seconds, for those that look at frames.

    Shape:
        references, estimates (targets, channels, samples), mixture (channels, samples) ->
        (targets,).

    Raises:
        UserError: A name that no score has, or an embedding's network can't be had.
    """
    makers = {**MAKERS, **EMBEDDINGS}
    return {n: makers[n](sample_rate, window, hop) for n in chosen(names) if n != LEAK}


def chosen(names: Iterable[str]) -> list[str]:
    """The scores that some names stand for, each once; "leak" is the leak matrix.

    Raises:
        UserError: A name that no score has.
    """
    known = [*MAKERS, LEAK, *EMBEDDINGS]
    every = [part for name in names for part in ([*MAKERS, LEAK] if name == ALL else [name])]
    unknown = [name for name in every if name not in known]
    if unknown:
        raise UserError(
            f"no score is called {', '.join(unknown)}: expected {ALL} or some of {', '.join(known)}"
        )
    return list(dict.fromkeys(every))


def leaks(references: Tensor, estimates: Tensor, names: list[str]) -> dict[str, Tensor]:
    """The leak matrix as scores: "leak of drums" of the vocals' estimate is how much came through.

    Shape: (targets, channels, samples) twice -> name -> (targets,), in dB.
    """
    matrix = diagnostics.leak_matrix(references, estimates)
    return {f"{LEAK} of {name}": matrix[:, column] for column, name in enumerate(names)}


def _plain(score: Callable[..., Tensor], *settings: float) -> Score:
    return lambda references, estimates, mixture: score(references, estimates, *settings)


def _v3_sources(references: Tensor, estimates: Tensor) -> Tensor:
    """SDR of BSSEval v3, channels averaged as in the singing-voice papers, which score mono."""
    truth, guess = (signals.double().mean(1).cpu().numpy() for signals in (references, estimates))
    return torch.from_numpy(bss_eval_sources(truth, guess).sdr[:, 0])


def _v3_images(references: Tensor, estimates: Tensor) -> Tensor:
    truth, guess = (signals.transpose(1, 2).cpu().numpy() for signals in (references, estimates))
    return torch.from_numpy(bss_eval_images(truth, guess).sdr[:, 0])


def _nsdr(references: Tensor, estimates: Tensor, mixture: Tensor) -> Tensor:
    return sdr.nsdr(references, estimates, mixture, _v3_sources)


def _csdr(rate: int, window: float, hop: float) -> Score:
    def score(references: Tensor, estimates: Tensor, mixture: Tensor) -> Tensor:
        with warnings.catch_warnings():
            # the framewise scores of the same track have said so already
            warnings.filterwarnings("ignore", message="targets .* are silent")
            return sdr.csdr(references, estimates, window * rate, hop * rate)

    return score


def _log_wmse(rate: int, window: float, hop: float) -> Score:
    return partial(log_wmse, sample_rate=rate)


def _embedded(distance: Callable[..., Tensor], network: Callable[..., embedding.Embedder]) -> Maker:
    def make(rate: int, window: float, hop: float) -> Score:
        embed = network(device="cuda" if torch.cuda.is_available() else "cpu")
        return lambda references, estimates, mixture: distance(references, estimates, rate, embed)

    return make


MAKERS: Mapping[str, Maker] = MappingProxyType({
    "uSDR": lambda rate, window, hop: _plain(sdr.usdr),
    "cSDR": _csdr,
    "SI-SDR": lambda rate, window, hop: _plain(sdr.si_sdr),
    "SI-SIR": lambda rate, window, hop: _plain(sdr.si_sir),
    "SI-SAR": lambda rate, window, hop: _plain(sdr.si_sar),
    "SNR": lambda rate, window, hop: _plain(sdr.snr),
    "NSDR": lambda rate, window, hop: _nsdr,
    "SDR v3 sources": lambda rate, window, hop: _plain(_v3_sources),
    "SDR v3 images": lambda rate, window, hop: _plain(_v3_images),
    "bleedless": lambda rate, window, hop: _plain(spectral.bleedless, rate),
    "fullness": lambda rate, window, hop: _plain(spectral.fullness, rate),
    "l1_freq": lambda rate, window, hop: _plain(spectral.l1_freq),
    "aura_stft": lambda rate, window, hop: _plain(spectral.aura_stft),
    "aura_mrstft": lambda rate, window, hop: _plain(spectral.aura_mrstft, rate),
    "log_wmse": _log_wmse,
    "LSD": lambda rate, window, hop: _plain(spectral.log_spectral_distance),
    "masked SDR": lambda rate, window, hop: diagnostics.masked_sdr,
    "silent residual": lambda rate, window, hop: _plain(
        diagnostics.silent_residual, window * rate, hop * rate
    ),
})  # fmt: skip
EMBEDDINGS: Mapping[str, Maker] = MappingProxyType({
    "FAD CLAP": _embedded(embedding.frechet_audio_distance, embedding.clap),
    "MERT distance": _embedded(embedding.embedding_distance, embedding.mert),
})  # fmt: skip
