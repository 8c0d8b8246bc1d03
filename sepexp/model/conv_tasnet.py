"""Conv-TasNet, in its speech form and in the form that Défossez et al. trained on music.

Luo and Mesgarani, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for Speech
Separation", arXiv 1809.07454; Défossez et al., "Music Source Separation in the Waveform Domain",
arXiv 1911.13254.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.nn.tasnet import MaskNetwork
from sepexp.separation import Separation

CHECKED = "golden counts; same weights, same output as torchaudio, Asteroid and demucs 2.0.3"


class ConvTasNet(nn.Module):
    """A learned basis, masks on its weights from dilated convolutions, a learned synthesis.

    The music form (`conv_tasnet`) is stereo, has neither skip path nor biases, ReLU masks and one
    decoder basis for all targets. The speech form (`conv_tasnet_speech`) sums skip outputs, has
    biases, sigmoid masks and a PReLU before them. Its published 5.1 M parameters (5,050,545)
    include the last block's residual output, which nothing reads; `last_residual: false` leaves
    it out and gives torchaudio's 4,984,881 (that has also `edge_padding`, `input_norm: gln`).

    Unlike the music reference, whose Xavier initialisation also overwrote the gains and biases of
    its norms by accident, only convolutions are initialised so. Samples beyond the last full
    frame are padded and estimated; the reference returned zeros there.

    Args:
        sample_rate: Hz. channels: of the audio. targets: number of estimates.
        bases: Learned basis functions (N).
        kernel: Samples of a basis function (L). stride: samples between frames.
        bottleneck: (B). hidden: (H). block_kernel: (P). blocks: (X). repeats: (R).
        skip: Channels of the skip path (Sc), 0 for the residual-only form.
        encoder_relu: Whether the basis weights are made non-negative.
        edge_padding: Pad both ends by kernel - stride, so that every sample lies in as many
            frames as the others.
        bias, norm, input_norm, mask, head_prelu, last_residual, causal: see `MaskNetwork`.

    Shape:
        mixture (batch, channels, samples) -> waveforms (batch, targets, channels, samples).
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        targets: int,
        bases: int,
        kernel: int,
        stride: int,
        bottleneck: int,
        hidden: int,
        block_kernel: int,
        blocks: int,
        repeats: int,
        skip: int,
        bias: bool,
        norm: str,
        input_norm: str,
        mask: str,
        encoder_relu: bool,
        edge_padding: bool,
        head_prelu: bool,
        last_residual: bool,
        causal: bool,
    ) -> None:
        super().__init__()
        if not 0 < stride <= kernel:
            raise UserError(
                f"stride is {stride}: expected 1 to kernel ({kernel}), or samples fall through"
            )
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.kernel, self.stride = targets, kernel, stride
        self.encoder_relu, self.edge_padding = encoder_relu, edge_padding
        self.encoder = nn.Conv1d(channels, bases, kernel, stride, bias=False)
        self.masks = MaskNetwork(
            bases=bases,
            bottleneck=bottleneck,
            hidden=hidden,
            kernel=block_kernel,
            blocks=blocks,
            repeats=repeats,
            targets=targets,
            skip=skip,
            bias=bias,
            norm=norm,
            input_norm=input_norm,
            mask=mask,
            head_prelu=head_prelu,
            last_residual=last_residual,
            causal=causal,
        )
        self.decoder = nn.ConvTranspose1d(bases, channels, kernel, stride, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_normal_(module.weight)
        # as a matrix from bases to the samples of all channels, which is what the decoder is
        bases, channels, kernel = self.decoder.weight.shape
        std = (2 / (bases + channels * kernel)) ** 0.5
        nn.init.normal_(self.decoder.weight, std=std)

    def upsampled_rates(self) -> list[float]:
        """Hz of the frames that the decoder makes samples of."""
        return [self.sample_rate / self.stride]

    def receptive_field(self) -> int:
        """Samples that one output sample's mask depends on, apart from the global norms."""
        reach = sum(
            (b.depthwise.kernel_size[0] - 1) * b.depthwise.dilation[0] for b in self.masks.blocks
        )
        return reach * self.stride + self.kernel

    def forward(self, mixture: Tensor) -> Separation:
        samples = mixture.shape[-1]
        edge = self.kernel - self.stride if self.edge_padding else 0
        hops = max(0, -(-(samples + 2 * edge - self.kernel) // self.stride))
        padded = F.pad(mixture, (edge, hops * self.stride + self.kernel - samples - edge))
        weights = self.encoder(padded)  # batch bases frames
        weights = weights.relu() if self.encoder_relu else weights
        masked = self.masks(weights) * weights[:, None]
        waveforms = self.decoder(
            rearrange(masked, "batch targets bases frames -> (batch targets) bases frames")
        )
        waveforms = rearrange(
            waveforms[..., edge : edge + samples],
            "(batch targets) channels samples -> batch targets channels samples",
            targets=self.targets,
        )
        return Separation(waveforms)
