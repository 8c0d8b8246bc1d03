"""Conv-TasNet with a deep, non-linear encoder and decoder.

Kadıoğlu, Horgan, Liu, Pons, Darcy and Kumar, "An Empirical Study of Conv-TasNet",
arXiv 2002.08688.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sepexp.errors import UserError
from sepexp.nn.tasnet import MaskNetwork
from sepexp.separation import Separation

CHECKED = "golden counts"


class DeepConvTasNet(nn.Module):
    """A strided convolution and a stack of small ones on each side of Conv-TasNet's masks.

    There is no official code, and the paper's best depth isn't known to us: four hidden layers on
    each side, dilated 1, 2, 4, 8 and back, as in the public re-implementation, whose 11,346,617
    parameters count skip convolutions that are never used; 9,770,681 are. The last activation of
    the encoder is a PReLU, so what the masks multiply may be negative.

    Args:
        sample_rate: Hz. channels: of the audio. targets: number of estimates.
        bases: Channels of the latent (N). kernel: of the first layer (L). stride: of it.
        encoder_depth, decoder_depth: Hidden layers on each side; 0 for the plain layer alone.
        dilated: Dilations 1, 2, 4, ...; otherwise all 1.
        hidden_kernel: Taps of hidden layers, odd. activation: "prelu", "relu" or "glu".
        bottleneck, hidden, block_kernel, blocks, repeats, skip, norm, input_norm, mask,
            head_prelu: of the masks, see `MaskNetwork`.

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
        encoder_depth: int,
        decoder_depth: int,
        dilated: bool,
        hidden_kernel: int,
        activation: str,
        bottleneck: int,
        hidden: int,
        block_kernel: int,
        blocks: int,
        repeats: int,
        skip: int,
        norm: str,
        input_norm: str,
        mask: str,
        head_prelu: bool,
    ) -> None:
        super().__init__()
        if not 0 < stride <= kernel:
            raise UserError(f"stride is {stride}: expected 1 to kernel ({kernel})")
        if hidden_kernel % 2 == 0:
            raise UserError(f"hidden_kernel is {hidden_kernel}: expected an odd number")
        self.sample_rate, self.channels, self.context = sample_rate, channels, 0
        self.targets, self.kernel, self.stride = targets, kernel, stride
        dilations = [
            2**index if dilated else 1 for index in range(max(encoder_depth, decoder_depth))
        ]
        self.encoder = nn.Sequential(
            nn.Conv1d(channels, bases, kernel, stride),
            *(
                _layer(nn.Conv1d, bases, hidden_kernel, d, activation)
                for d in dilations[:encoder_depth]
            ),
        )
        self.masks = MaskNetwork(
            bases=bases,
            bottleneck=bottleneck,
            hidden=hidden,
            kernel=block_kernel,
            blocks=blocks,
            repeats=repeats,
            targets=targets,
            skip=skip,
            bias=True,
            norm=norm,
            input_norm=input_norm,
            mask=mask,
            head_prelu=head_prelu,
            last_residual=False,
            causal=False,
        )
        backwards = reversed(dilations[:decoder_depth])
        self.decoder = nn.Sequential(
            *(_layer(nn.ConvTranspose1d, bases, hidden_kernel, d, activation) for d in backwards),
            nn.ConvTranspose1d(bases, channels, kernel, stride),
        )

    def upsampled_rates(self) -> list[float]:
        """Hz of the frames that the decoder makes samples of."""
        return [self.sample_rate / self.stride]

    def forward(self, mixture: Tensor) -> Separation:
        samples = mixture.shape[-1]
        edge = self.kernel - self.stride  # every sample lies in as many frames as the others
        hops = max(0, -(-(samples + 2 * edge - self.kernel) // self.stride))
        padded = F.pad(mixture, (edge, hops * self.stride + self.kernel - samples - edge))
        latent = self.encoder(padded)
        masked = self.masks(latent) * latent[:, None]
        waveforms = self.decoder(
            rearrange(masked, "batch targets bases frames -> (batch targets) bases frames")
        )
        waveforms = waveforms[..., edge : edge + samples]
        return Separation(waveforms.unflatten(0, (-1, self.targets)))


def _layer(
    convolution: type[nn.Conv1d] | type[nn.ConvTranspose1d],
    width: int,
    kernel: int,
    dilation: int,
    activation: str,
) -> nn.Sequential:
    """A convolution that keeps width and length, and its activation."""
    gates: dict[str, nn.Module] = {"prelu": nn.PReLU(), "relu": nn.ReLU(), "glu": nn.GLU(dim=1)}
    if activation not in gates:
        raise UserError(f"activation is {activation!r}: expected {', '.join(gates)}")
    outputs = 2 * width if activation == "glu" else width
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        convolution(width, outputs, kernel, padding=padding, dilation=dilation), gates[activation]
    )
