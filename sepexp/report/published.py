"""Figures that others published for MUSDB18, with what is doubtful about them.

SDR in dB: BSSEval v4, median over frames of a second, then median over the 50 test songs, unless
a row says otherwise. `settings` names our own experiment, as overrides, so that our counts and
scores can stand beside a row; none where we have no such model.
"""

from __future__ import annotations

from typing import NamedTuple


class Ablation(NamedTuple):
    """A row of the Demucs ablation (arXiv 1911.13254v1); scores drums, bass, other, vocals, all."""

    name: str
    seeds: int
    valid_loss: str
    scores: tuple[float, float, float, float, float]
    settings: dict[str, str]
    doubt: str = ""


class Method(NamedTuple):
    """A row of the comparison by domain, extra data, SDR and listening tests (MOS, 1 to 5)."""

    name: str
    domain: str
    extra: str
    sdr: float
    quality: float | None
    contamination: float | None
    settings: dict[str, str]
    doubt: str = ""


class Sized(NamedTuple):
    """A row of the table of sizes; scores vocals, drums, bass, other, average."""

    name: str
    parameters: str
    scores: tuple[float | None, float | None, float | None, float | None, float]
    settings: dict[str, str]
    doubt: str = ""


DEMUCS = {"model": "demucs_100"}

# fmt: off
ABLATION = [
    Ablation("reference, 100 channels", 5, "0.1641", (6.08, 5.83, 4.12, 6.29, 5.58), DEMUCS,
             "by mean over tracks 6.66, 5.31, 3.71, 5.35, all 5.26"),
    Ablation("no initial weight rescaling", 1, "0.1716", (5.27, 4.66, 3.66, 6.18, 4.94),
             {**DEMUCS, "model.rescale": "0"}),
    Ablation("no BiLSTM", 1, "0.1748", (5.97, 4.63, 4.08, 5.80, 5.12),
             {**DEMUCS, "model.lstm_layers": "0"}),
    Ablation("ReLU instead of GLU", 1, "0.1767", (5.77, 5.68, 3.58, 5.72, 5.19),
             {**DEMUCS, "model.activation": "relu"}),
    Ablation("ReLU and no rescaling", 1, "0.1745", (5.85, 5.46, 3.53, 5.91, 5.19),
             {**DEMUCS, "model.activation": "relu", "model.rescale": "0"}),
    Ablation("no 1x1 and context convolutions", 1, "0.1765", (5.93, 6.35, 3.43, 5.49, 5.30),
             {**DEMUCS, "model.rewrite": "false"}),
    Ablation("decoder context 1", 1, "0.1656", (6.11, 6.07, 3.85, 6.00, 5.51),
             {**DEMUCS, "model.context_kernel": "1"}),
    Ablation("MSE loss", 1, "0.0686", (6.24, 5.96, 4.09, 5.90, 5.55), {**DEMUCS, "loss": "mse"},
             "the validation loss is an MSE here"),
    Ablation("rescaling reference 0.05", 1, "0.1660", (6.06, 6.00, 3.91, 6.30, 5.57),
             {**DEMUCS, "model.rescale": "0.05"}),
    Ablation("rescaling reference 0.01", 1, "0.1717", (5.50, 4.83, 3.40, 5.20, 4.73),
             {**DEMUCS, "model.rescale": "0.01"}),
    Ablation("80 channels", 3, "0.1650", (6.13, 5.96, 3.94, 5.98, 5.50),
             {**DEMUCS, "model.width": "80"}),
    Ablation("64 channels", 3, "0.1666", (6.04, 6.20, 3.86, 6.00, 5.52),
             {**DEMUCS, "model.width": "64"}),
    Ablation("64 channels, learning rate 5e-4", 3, "0.1659", (6.10, 5.87, 3.88, 6.15, 5.50),
             {**DEMUCS, "model.width": "64", "optimizer.lr": "0.0005"}),
    Ablation("learning rate 5e-4", 3, "0.2784", (1.40, 1.36, 1.31, 1.04, 1.28),
             {**DEMUCS, "optimizer.lr": "0.0005"}, "some seeds diverge"),
]
ABLATION_NOTES = [
    "Recomputed from the framewise results that the authors published; the 'all' column is the "
    "plain mean of the four sources.",
    "Most arms have one seed, and seeds spread by some 0.1 to 0.2 dB: of those rows only "
    "differences of about half a dB say something of the setting.",
]

METHODS = [
    Method("Open-Unmix", "spectrogram", "no", 5.3, 3.0, 3.3, {"model": "open_unmix"}),
    Method("D3Net", "spectrogram", "no", 6.0, None, None, {}),
    Method("Wave-U-Net", "waveform", "no", 3.2, None, None, {"model": "wave_u_net"},
           "its SiSEC 2018 entry; the model M6 for four sources"),
    Method("Demucs", "waveform", "no", 6.3, 3.2, 3.3, {"model": "demucs"},
           "SDR of version 2, listening test of version 1 (SDR 5.6)"),
    Method("Conv-TasNet", "waveform", "no", 5.7, 2.9, 3.4, {"model": "conv_tasnet"},
           "trained by the authors of Demucs; best SDR and worst quality of the three heard"),
    Method("Demucs", "waveform", "150 songs", 6.8, None, None, {}),
    Method("Conv-TasNet", "waveform", "150 songs", 6.3, None, None, {}),
    Method("MMDenseLSTM", "spectrogram", "804 songs", 6.0, None, None, {}, "SiSEC 2018 entry TAK2"),
    Method("D3Net", "spectrogram", "1.5k songs", 6.7, None, None, {}),
    Method("Spleeter", "spectrogram", "25k songs", 5.9, None, None, {},
           "the songs are not public"),
]
METHOD_NOTES = [
    "From the authors of Demucs (arXiv 1911.13254v2). Higher is better in both MOS columns: 5 is "
    "no artefact, or no other source heard. A later test (arXiv 2111.03600) gave Demucs 2.37 and "
    "2.36: MOS figures of different tests can't be set side by side.",
]

SIZES = [
    Sized("IRM oracle", "–", (9.43, 8.45, 7.12, 7.85, 8.21), {"row": "IRM1"},
          "a magnitude mask with the mixture's phase: no ceiling for other methods"),
    Sized("DeepConvSep", "0.32M", (None, None, None, None, 0.89), {"model": "deepconvsep"},
          "mono; one network for four sources"),
    Sized("Wavenet", "3.30M", (3.35, 4.13, 2.49, 0.41, 2.60), {"model": "wavenet"},
          "later tables print 2.60 as 'other'; that is the average of the four"),
    Sized("Wave-U-Net", "10.20M", (3.25, 4.22, 3.21, 2.25, 3.23), {"model": "wave_u_net"},
          "the four-source network counts 10.26M"),
    Sized("Spect U-Net", "9.84M", (5.74, 4.66, 3.67, 3.40, 4.37), {"model": "u_net_channels"},
          "one network with four output channels (arXiv 1810.11520), not the vocals U-Net of 2017"),
    Sized("Open-Unmix", "8.90M", (6.32, 5.73, 5.23, 4.02, 5.33), {"model": "open_unmix"},
          "the count of one target; four targets are 35.57M"),
    Sized("Meta-TasNet", "12.00M", (6.40, 5.91, 5.58, 4.19, 5.52), {"model": "meta_tasnet"},
          "the released settings count 45.53M; no reading of them gives 12.00M"),
    Sized("MMDenseLSTM", "4.88M", (6.60, 6.41, 5.16, 4.15, 5.58), {"model": "mmdenselstm"},
          "four networks of 1.22M; the LSTM's projection is not fully described"),
    Sized("Demucs", "66.42M", (6.29, 6.08, 5.83, 4.12, 5.58), {"model": "demucs"},
          "66.42M is 265.68M / 4, of the network with 64 channels; the scores are those of the one "
          "with 100 channels (648.55M)"),
    Sized("Sams-Net", "3.70M", (6.61, 6.63, 5.25, 4.09, 5.65), {"model": "sams_net"},
          "no public layer table: ours is a reconstruction"),
]
SIZE_NOTES = [
    "Published tables mix counts for one target with counts for four: ours are for all targets of "
    "the config.",
]
# fmt: on
