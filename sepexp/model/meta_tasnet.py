"""Meta-TasNet: Conv-TasNets at rising rates whose mask networks are generated from embeddings.

Samuel, Ganeshan and Naradowsky, "Meta-learning Extractors for Music Source Separation",
arXiv 2002.07016.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.dsp.stft import STFT
from sepexp.errors import UserError
from sepexp.nn.bin_statistics import bin_statistics
from sepexp.nn.doubling import Doubling
from sepexp.nn.generated import GeneratedConv, GeneratedNorm, Generator
from sepexp.nn.tasnet import make_mask
from sepexp.separation import Separation

CHECKED = "golden counts"


class MetaTasNet(nn.Module):
    """Stages at 8, 16 and 32 kHz; each masks its latent and hands it to the next one.

    The released sizes have 45,531,260 trainable parameters; the published 12.00 M follow from
    none of the released settings (one instrument's extractor has 18.41 M). A generator stores six
    numbers for a weight where four independent instruments store four. Like the release, the last
    block's residual output counts although nothing reads it: `last_residual: false` leaves it out.

    Each channel is separated by itself, scaled to unit deviation over the segment. In training,
    `extras` has for every stage, from the lowest rate on and numbered from 1: `mixture`,
    `waveforms`, `reconstruction` (the mixture's latent decoded without masks) and `latents` (of
    the estimates; the published similarity terms read those of the true stems, which a model
    doesn't see). How a generator starts is our choice: half of a weight's variance belongs to
    all instruments, and its size is that of an ordinary layer.

    Args:
        sample_rate: Hz, of the last stage; each stage before it works at half the rate.
        channels: Of the audio. targets: number of estimates.
        bases: Latent channels (N) of each stage. kernels: base filter length and stride (L, W).
        n_ffts: Samples of the spectrogram branch's frames, hop a quarter of them.
        filters: Filter lengths of the encoder, each twice the one before.
        compressed: Features that the spectrogram is mapped to; 0 for no spectrogram branch.
        width: Channels between blocks (B). hidden: inside a block (H).
        block_kernel, blocks, repeats: of the mask network; dilations 1, 2, 4, ...
        groups: Of the group norms, for each target.
        embedding: Numbers that a target is known by (E1); 0 for independent weights.
        rank: Numbers between embedding and weights (E2).
        mask: "softmax", "sigmoid" or "relu".
        last_residual: See above.
        fit_gains: Outside training, scale the estimates so that their sum is nearest to the
            mixture in least squares: what a scale-invariant loss leaves open.

    Shape:
        mixture (batch, channels, samples) -> waveforms (batch, targets, channels, samples).
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        bases: Sequence[int],
        kernels: Sequence[int],
        n_ffts: Sequence[int],
        filters: int,
        compressed: int,
        width: int,
        hidden: int,
        block_kernel: int,
        blocks: int,
        repeats: int,
        groups: int,
        embedding: int,
        rank: int,
        mask: str,
        last_residual: bool,
        fit_gains: bool,
    ) -> None:
        super().__init__()
        if not len(bases) == len(kernels) == len(n_ffts):
            raise UserError(
                f"bases, kernels and n_ffts name {len(bases)}, {len(kernels)} and {len(n_ffts)} "
                "stages: expected one entry for each stage in each list"
            )
        if any(2 * low != high for low, high in zip(kernels[:-1], kernels[1:], strict=True)):
            raise UserError(f"kernels are {kernels}: expected each twice the one before")
        make_mask(torch.zeros(1, 1, 1, 1), mask)  # an unknown name fails here, not in training
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.fit_gains, self.step = targets, fit_gains, kernels[-1]
        # nor does a loss of waveforms alone read the decoders of the stages before the last
        self.has_unread_parameters = last_residual or len(bases) > 1
        self.halve = Doubling()
        self.stages = nn.ModuleList(
            Stage(
                targets=targets,
                bases=bases[index],
                handed=bases[index - 1] if index else 0,
                encoder=Encoder(bases[index], kernels[index], n_ffts[index], filters, compressed),
                decoder=Decoder(bases[index], kernels[index], filters),
                width=width,
                hidden=hidden,
                kernel=block_kernel,
                blocks=blocks,
                repeats=repeats,
                groups=groups,
                embedding=embedding,
                rank=rank,
                mask=mask,
                last_residual=last_residual,
            )
            for index in range(len(bases))
        )

    @torch.no_grad()
    def prepare(self, tracks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take the spectrogram branches' mean and deviation of each bin from training songs."""
        for index, stage in enumerate(self.stages):
            if stage.encoder.spectrogram is None:
                continue
            branch = stage.encoder.spectrogram

            def features(
                mixture: Tensor, index: int = index, branch: Spectrogram = branch
            ) -> Tensor:
                mixture = mixture.to(branch.mean.device)
                scaled = mixture / mixture.std().clamp_min(1e-4)
                return branch.log_power(self._rates(scaled[None])[index][0])

            mean, deviation = bin_statistics(tracks, features)
            branch.mean.copy_(mean)
            branch.deviation.copy_(deviation)

    def _rates(self, waves: Tensor) -> list[Tensor]:
        """The same audio at the rate of every stage, the lowest first."""
        rates = [waves]
        for _ in self.stages[1:]:
            rates.insert(0, self.halve.undo(rates[0]))
        return rates

    def forward(self, mixture: Tensor) -> Separation:
        batch, channels, samples = mixture.shape
        scale = mixture.std(dim=-1, keepdim=True).clamp_min(1e-4)
        padded = F.pad(mixture / scale, (0, -samples % self.step))
        extras: dict[str, Tensor] = {}
        handed = None
        for number, waves in enumerate(self._rates(padded), start=1):
            mono = rearrange(waves, "batch channels samples -> (batch channels) 1 samples")
            stage = self.stages[number - 1]
            latent, handed = stage(mono, handed)
            estimates = stage.decoder(rearrange(handed, "b targets bases t -> (b targets) bases t"))
            estimates = rearrange(
                estimates,
                "(batch channels targets) 1 samples -> batch targets channels samples",
                channels=channels,
                targets=self.targets,
            )
            if self.training:
                extras[f"mixture{number}"] = waves
                extras[f"waveforms{number}"] = estimates
                extras[f"reconstruction{number}"] = stage.decoder(latent).view_as(waves)
                extras[f"latents{number}"] = handed.unflatten(0, (batch, channels))
        waveforms = estimates[..., :samples] * scale[:, None]
        if self.fit_gains and not self.training:
            waveforms = match_mixture(waveforms, mixture)
        return Separation(waveforms, extras=extras or None)


class Stage(nn.Module):
    """One rate: a mixture's latent, and a masked latent for every target.

    Shape:
        waves (batch, 1, samples), handed (batch, targets, bases of the stage before, frames) ->
        (batch, bases, frames), (batch, targets, bases, frames).
    """

    def __init__(
        self,
        *,
        targets: int,
        bases: int,
        handed: int,
        encoder: Encoder,
        decoder: Decoder,
        width: int,
        hidden: int,
        kernel: int,
        blocks: int,
        repeats: int,
        groups: int,
        embedding: int,
        rank: int,
        mask: str,
        last_residual: bool,
    ) -> None:
        super().__init__()
        self.targets, self.mask = targets, mask
        self.encoder, self.decoder = encoder, decoder
        make = Generator(targets, embedding, rank)
        self.embedding = nn.Parameter(torch.randn(targets, embedding)) if embedding else None
        self.input = Activation(make, bases + handed, groups)
        self.narrow = GeneratedConv(make, bases + handed, width)
        self.before = Activation(make, width, groups)
        self.blocks = nn.ModuleList(
            Block(
                make,
                width,
                hidden,
                kernel=kernel,
                dilation=2 ** (index % blocks),
                groups=groups,
                residual=last_residual or index < blocks * repeats - 1,
            )
            for index in range(blocks * repeats)
        )
        self.after = Activation(make, width, groups)
        self.widen = GeneratedConv(make, width, bases)
        self.output = Activation(make, bases, groups)

    def forward(self, waves: Tensor, handed: Tensor | None) -> tuple[Tensor, Tensor]:
        latent = self.encoder(waves)
        features = latent[:, None].expand(-1, self.targets, -1, -1)
        if handed is not None:
            features = torch.cat([features, handed], dim=2)
        known = self.embedding
        features = self.narrow(self.input(features.flatten(1, 2), known), known)
        features = self.before(features, known)
        total = None
        for block in self.blocks:
            features, skip = block(features, known)
            total = skip if total is None else total + skip
        scores = self.output(self.widen(self.after(total, known), known), known)
        masks = make_mask(scores.unflatten(1, (self.targets, -1)), self.mask)
        return latent, masks * latent[:, None]


class Activation(nn.Module):
    """PReLU and then a generated group norm, in this order as in the release."""

    def __init__(self, make: Generator, channels: int, groups: int) -> None:
        super().__init__()
        self.prelu = nn.PReLU()
        self.norm = GeneratedNorm(make, channels, groups)

    def forward(self, features: Tensor, embedding: Tensor | None) -> Tensor:
        return self.norm(self.prelu(features), embedding)


class Block(nn.Module):
    """The temporal block of Conv-TasNet, all targets side by side, its weights generated."""

    def __init__(
        self,
        make: Generator,
        width: int,
        hidden: int,
        *,
        kernel: int,
        dilation: int,
        groups: int,
        residual: bool,
    ) -> None:
        super().__init__()
        self.expand = GeneratedConv(make, width, hidden)
        self.first = Activation(make, hidden, groups)
        self.depthwise = GeneratedConv(
            make, hidden, hidden, kernel=kernel, dilation=dilation, depthwise=True
        )
        self.second = Activation(make, hidden, groups)
        self.residual = GeneratedConv(make, hidden, width) if residual else None
        self.skip = GeneratedConv(make, hidden, width)

    def forward(self, features: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        hidden = self.first(self.expand(features, known), known)
        hidden = self.second(self.depthwise(hidden, known), known)
        if self.residual is not None:
            features = features + self.residual(hidden, known)
        return features, self.skip(hidden, known)


class Encoder(nn.Module):
    """Filters of several lengths and a compressed spectrogram, mixed; latents may be negative.

    Shape:
        (batch, 1, samples), samples a multiple of kernel -> (batch, bases, samples / kernel).
    """

    def __init__(self, bases: int, kernel: int, n_fft: int, filters: int, compressed: int) -> None:
        super().__init__()
        self.bank = nn.ModuleList(
            nn.Conv1d(1, bases // 4, taps, kernel, padding=(taps - kernel) // 2, bias=False)
            for taps in (kernel * 2**index for index in range(filters))
        )
        self.spectrogram = Spectrogram(n_fft, compressed) if compressed else None
        self.mix = nn.Sequential(
            nn.Conv1d(filters * (bases // 4) + compressed, bases, 1, bias=False),
            nn.ReLU(),
            nn.Conv1d(bases, bases, 1, bias=False),
        )

    def forward(self, waves: Tensor) -> Tensor:
        # interleaved: filters of all lengths with one number stand side by side
        features = torch.stack([conv(waves) for conv in self.bank], dim=2).flatten(1, 2).relu()
        if self.spectrogram is not None:
            spectrogram = self.spectrogram(waves, features.shape[-1])
            features = torch.cat([features, spectrogram.to(features.dtype)], dim=1)
        return self.mix(features)


class Spectrogram(nn.Module):
    """Standardised log power, compressed to fewer features at the latent's frame rate.

    Shape:
        (batch, 1, samples) -> (batch, features, frames).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_fft: int, features: int) -> None:
        super().__init__()
        self.stft = STFT(n_fft=n_fft, hop=n_fft // 4)
        self.register_buffer("mean", torch.zeros(self.stft.freq))
        self.register_buffer("deviation", torch.ones(self.stft.freq))
        self.scale = nn.Parameter(torch.ones(self.stft.freq))
        self.shift = nn.Parameter(torch.zeros(self.stft.freq))
        self.compress = nn.Conv1d(self.stft.freq, features, 1)

    def log_power(self, waves: Tensor) -> Tensor:
        """(..., samples) -> (..., freq, frames)."""
        return (self.stft.analyse(waves).abs().square() + 1e-8).log10()

    def forward(self, waves: Tensor, frames: int) -> Tensor:
        power = self.log_power(waves[:, 0])
        power = (power - self.mean[:, None]) / self.deviation[:, None]
        compressed = self.compress(power * self.scale[:, None] + self.shift[:, None])
        return F.interpolate(compressed, frames, mode="linear", align_corners=True)


class Decoder(nn.Module):
    """A latent split between transposed convolutions of several lengths, summed.

    Shape:
        (batch, bases, frames) -> (batch, 1, frames * kernel).
    """

    def __init__(self, bases: int, kernel: int, filters: int) -> None:
        super().__init__()
        self.widths = [bases // 2 ** (index + 1) for index in range(filters)]
        self.split = nn.Conv1d(bases, sum(self.widths), 1, bias=False)
        self.bank = nn.ModuleList(
            nn.ConvTranspose1d(width, 1, taps, kernel, padding=(taps - kernel) // 2, bias=False)
            for width, taps in zip(
                self.widths, (kernel * 2**index for index in range(filters)), strict=True
            )
        )

    def forward(self, latent: Tensor) -> Tensor:
        parts = self.split(latent).relu().split(self.widths, dim=1)
        waves = [conv(part) for conv, part in zip(self.bank, parts, strict=True)]
        return torch.stack(waves).sum(dim=0)


def match_mixture(waveforms: Tensor, mixture: Tensor) -> Tensor:
    """One gain for each estimate and channel so that the sum is nearest to the mixture.

    Shape:
        waveforms (batch, targets, channels, samples), mixture (batch, channels, samples) ->
        (batch, targets, channels, samples).
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        estimates = waveforms.float().transpose(1, 2)  # batch channels targets samples
        products = estimates @ estimates.transpose(-1, -2)
        # estimates that are silent or copies of each other leave gains open: a ridge settles them
        energy = products.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
        ridge = torch.eye(products.shape[-1], device=products.device) * (1e-4 * energy + 1e-8)
        wanted = estimates @ mixture.float()[..., None]
        gains = torch.linalg.solve(products + ridge, wanted)  # batch channels targets 1
    return waveforms * gains.transpose(1, 2)
