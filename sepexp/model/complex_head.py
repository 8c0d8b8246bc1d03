"""One U-Net, many ways to say what a target's complex spectrum is.

The backbone and its input are the same for every head, so that a comparison shows what the
interface is worth. None of the heads was published on music with this backbone:

- magbook, phasebook, combook: Le Roux et al., arXiv 1810.01395, distributions over code books;
- complex mask, bounded by tanh: after Williamson et al., doi 10.1109/TASLP.2015.2512042;
- mapping: the complex spectrum itself, Tan and Wang, doi 10.1109/TASLP.2019.2955276;
- real spectrum: Liu et al., "Supervised speech enhancement with real spectrum approximation",
  ICASSP 2019; the training is a reconstruction;
- decoupled: magnitude, rotation and what no mask can give, Kong et al., arXiv 2109.05418.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepexp.dsp.real_spectrum import RealSpectrum
from sepexp.dsp.stft import STFT
from sepexp.nn.spectra_only import spectra_only
from sepexp.nn.u_net import UNet
from sepexp.separation import Separation

CHECKED = "own tests: one backbone, heads exchanged"


class HeadedUNet(nn.Module):
    """A U-Net on compressed spectra whose outputs a head turns into the targets' spectra.

    Args:
        sample_rate: Hz.
        n_fft, hop: Samples of a frame and between frames.
        widths: Feature maps of each level of the U-Net.
        kernel: Size of every convolution.
        dropout: Probability in the first three decoder levels.
        compression: Exponent of the magnitudes that the U-Net reads.
        head: What the outputs mean, the transform included.

    Shape:
        (batch, channels, samples) -> waveforms (batch, targets, channels, samples),
        spectra: complex, real for the real spectrum (batch, targets, channels, freq, frames),
        extras: `mixture`, the mixture's spectrum, and what the head adds.
    """

    waveforms_in_training = True  # False where no loss reads them

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        n_fft: int,
        hop: int,
        widths: Sequence[int],
        kernel: int,
        dropout: float,
        compression: float,
        head: Head,
    ) -> None:
        super().__init__()
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.compression = targets, compression
        self.head = head
        self.transform = head.transform(n_fft=n_fft, hop=hop)
        self.network = UNet(
            inputs=2 * channels,
            outputs=targets * channels * head.maps,
            widths=widths,
            kernel=kernel,
            dropout=dropout,
        )

    def analyse(self, waveforms: Tensor) -> Tensor:
        """(..., samples) -> (..., freq, frames), complex, or real for the real spectrum."""
        return self.transform.analyse(waveforms)

    def forward(self, mixture: Tensor) -> Separation:
        spectrum = self.analyse(mixture)
        outputs = self.network(self.features(spectrum)).float()
        outputs = outputs.unflatten(1, (self.targets, self.channels, self.head.maps))
        with torch.autocast(outputs.device.type, enabled=False):  # bfloat16 has no complex numbers
            spectra, extras = self.head(outputs, spectrum[:, None])
        extras["mixture"] = spectrum
        if self.training and not self.waveforms_in_training:
            return spectra_only(spectra, extras)
        return Separation(self.transform.synthesise(spectra, mixture.shape[-1]), spectra, extras)

    def features(self, spectrum: Tensor) -> Tensor:
        """Compressed real and imaginary parts, or a real spectrum and its modulus, as maps."""
        if spectrum.is_complex():
            modulus = (spectrum.abs() + 1e-8) ** (self.compression - 1)
            return torch.cat([spectrum.real * modulus, spectrum.imag * modulus], dim=1)
        # signs alternate from bin to bin, so that a strided network can't read them alone
        modulus = (spectrum.abs() + 1e-8) ** (self.compression - 1)
        return torch.cat([spectrum * modulus, spectrum.abs() * modulus], dim=1)


class Head(nn.Module):
    """From outputs to spectra; `maps` outputs for each target and channel.

    Shape:
        outputs (batch, targets, channels, maps, freq, frames), mixture (batch, 1, channels, freq,
        frames) -> (batch, targets, channels, freq, frames) and named extras.
    """

    transform: type[STFT] | type[RealSpectrum] = STFT
    maps: int

    def __init__(self, *, start: Sequence[float]) -> None:
        super().__init__()
        self.maps = len(start)
        self.bias = nn.Parameter(torch.tensor(start)[:, None, None])  # where training starts

    def forward(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.estimate(outputs + self.bias, mixture)

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError


class RealMask(Head):
    """A mask between 0 and `limit` with the mixture's phase."""

    def __init__(self, *, limit: float) -> None:
        super().__init__(start=[0.0])
        self.limit = limit

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.limit * outputs[:, :, :, 0].sigmoid() * mixture, {}


class ComplexMask(Head):
    """A complex mask whose modulus is bounded by `limit`."""

    def __init__(self, *, limit: float) -> None:
        super().__init__(start=[0.5, 0.0])
        self.limit = limit

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        real, imag = outputs.unbind(3)
        modulus = (real.square() + imag.square() + 1e-12).sqrt()
        bound = self.limit * (modulus / self.limit).tanh() / modulus
        return torch.complex(real * bound, imag * bound) * mixture, {}


class Mapping(Head):
    """The complex spectrum itself, in compressed magnitudes."""

    def __init__(self, *, compression: float) -> None:
        super().__init__(start=[0.0, 0.0])
        self.compression = compression

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        real, imag = outputs.unbind(3)
        power = (real.square() + imag.square() + 1e-12) ** ((1 / self.compression - 1) / 2)
        return torch.complex(real * power, imag * power), {}


class Decoupled(Head):
    """A magnitude mask, a rotation of the phase, and a magnitude that is added.

    |Y| = relu(sigmoid(a) |X| + b), so that what the mixture cancelled can come back.
    """

    def __init__(self) -> None:
        super().__init__(start=[0.0, 1.0, 0.0, 0.0])

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        mask, real, imag, added = outputs.unbind(3)
        magnitude = torch.relu(mask.sigmoid() * mixture.abs() + added)
        size = (real.square() + imag.square() + 1e-12).sqrt()
        rotation = torch.complex(real / size, imag / size)
        phase = mixture / mixture.abs().clamp_min(1e-12)
        return magnitude * rotation * phase, {}


class Codebook(Head):
    """Distributions over codes; the mask is their mean, or in evaluation the likeliest if `hard`.

    Args:
        magnitudes: Codes of the magnitude; None: the mask's modulus is in the other codes.
        angles: Codes of the phase difference to the mixture, evenly spaced from 0; 0 for none.
        pairs: Codes of complex values, evenly spaced on two circles and zero; 0 for none.
        trainable: Whether codes learn.
        hard: Take the likeliest code in evaluation.

    A magbook has magnitudes, a phasebook magnitudes and angles, a combook pairs.
    Extras: `choice_...` (batch, targets, channels, codes, freq, frames) and `codes_...` (codes,)
    of each book, for losses that look at every code.
    """

    magnitude: Tensor
    angle: Tensor
    pair: Tensor

    def __init__(
        self,
        *,
        magnitudes: Sequence[float] | None,
        angles: int,
        pairs: int,
        trainable: bool,
        hard: bool,
    ) -> None:
        magnitude = torch.tensor(magnitudes or [])
        angle = 2 * torch.pi * torch.arange(angles) / max(angles, 1)
        pair = torch.view_as_real(scattered(pairs))
        bonus = 2.0  # logits that make the mixture itself the likeliest at the start
        # plain numbers: on the meta device tensors have no values to read
        start = [bonus * (code == 1) for code in magnitudes or []]
        start += [bonus * (code == 0) for code in range(angles)]
        start += [bonus * (code == 1) for code in range(pairs)]
        super().__init__(start=start)
        self.hard = hard
        self.sizes = [len(magnitude), angles, pairs]
        for name, codes in (("magnitude", magnitude), ("angle", angle), ("pair", pair)):
            if trainable and codes.numel() > 0:
                self.register_parameter(name, nn.Parameter(codes))
            else:
                self.register_buffer(name, codes)

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        books = {
            "magnitude": torch.complex(self.magnitude, torch.zeros_like(self.magnitude)),
            "angle": torch.polar(torch.ones_like(self.angle), self.angle),
            "pair": torch.view_as_complex(self.pair),
        }
        mask, extras = torch.ones_like(mixture), dict[str, Tensor]()
        for (name, codes), logits in zip(books.items(), outputs.split(self.sizes, 3), strict=True):
            if len(codes) == 0:
                continue
            choice = self.choose(logits)
            value = torch.complex(mixed(choice, codes.real), mixed(choice, codes.imag))
            if name == "angle":  # of the mean only the direction counts
                value = value / (value.abs().square() + 1e-8).sqrt()
            mask = mask * value
            extras |= {f"choice_{name}": choice, f"codes_{name}": codes}
        return mask * mixture, extras

    def choose(self, logits: Tensor) -> Tensor:
        """Probabilities of the codes on axis 3; one and zeros if hard."""
        if self.hard and not self.training:
            return torch.zeros_like(logits).scatter(3, logits.argmax(3, keepdim=True), 1.0)
        return logits.softmax(3)


class RealSpectrumMask(Head):
    """A signed mask on the real spectrum, bounded by `limit`."""

    transform = RealSpectrum

    def __init__(self, *, limit: float) -> None:
        super().__init__(start=[0.5])
        self.limit = limit

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.limit * (outputs[:, :, :, 0] / self.limit).tanh() * mixture, {}


class RealSpectrumMapping(Head):
    """The real spectrum itself, in compressed size."""

    transform = RealSpectrum

    def __init__(self, *, compression: float) -> None:
        super().__init__(start=[0.0])
        self.compression = compression

    def estimate(self, outputs: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        size = outputs[:, :, :, 0]
        return size * (size.abs() + 1e-8) ** (1 / self.compression - 1), {}


def mixed(choice: Tensor, codes: Tensor) -> Tensor:
    """Mean code: choice (batch, targets, channels, codes, ...), codes (codes,)."""
    return torch.einsum("btckfn,k->btcfn", choice, codes.to(choice.dtype))


def scattered(count: int) -> Tensor:
    """Complex codes: 0, then 1 and its neighbours on the circles of radius 1 and 1.5."""
    if count == 0:
        return torch.zeros(0, dtype=torch.complex64)
    inner, outer = count // 2, (count - 1) // 2
    rings = [
        radius * torch.polar(torch.ones(n), 2 * torch.pi * torch.arange(n) / max(n, 1))
        for radius, n in ((1.0, inner), (1.5, outer))
    ]
    return torch.cat([torch.zeros(1, dtype=torch.complex64), *rings])
