"""Distances between what networks hear in truth and estimate: FAD on CLAP, MERT distance.

Frechet audio distance, arXiv:1812.08466, song by song as in arXiv:2311.01616; CLAP,
arXiv:2211.06687; MERT, arXiv:2306.00107. The networks come with the extra `embedding`
(transformers), their weights from their publisher's hub when first used; the weights have licences
of their own (MERT's forbids commercial use). Lower is better, and nothing here is in dB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sepexp.errors import UserError

Embedder = Callable[[Tensor, int], Tensor]  # (channels, samples), rate in Hz -> (frames, features)

CLAP, MERT = "laion/larger_clap_music", "m-a-p/MERT-v1-95M"
CLAP_WINDOW, CLAP_HOP, MERT_WINDOW = 10.0, 1.0, 5.0  # seconds
TOGETHER = 8  # windows a batch


def frechet_distance(first: Tensor, second: Tensor) -> Tensor:
    """Frechet distance of the Gaussians fitted to two clouds (squared, as FID and FAD are).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) with unbiased covariances. The last trace is the
    sum of singular values of a product of the centred clouds, so no matrix root is needed and fewer
    frames than features do no harm.

    Shape: (frames, features), (other frames, features) -> ().

    Raises:
        UserError: fewer than two frames in a cloud, or other features.
    """
    if min(len(first), len(second)) < 2 or first.shape[1:] != second.shape[1:]:
        raise UserError(
            f"clouds have shapes {tuple(first.shape)} and {tuple(second.shape)}: expected two or"
            " more frames of the same features; score longer audio."
        )
    clouds = first.double(), second.double()
    means = [cloud.mean(0) for cloud in clouds]
    left, right = (
        (cloud - mean) / (len(cloud) - 1) ** 0.5 for cloud, mean in zip(clouds, means, strict=True)
    )
    both = torch.linalg.svdvals(left @ right.T).sum()
    spread = left.square().sum() + right.square().sum() - 2 * both
    return (means[0] - means[1]).square().sum() + spread.clamp(min=0)


def frechet_audio_distance(
    references: Tensor, estimates: Tensor, sample_rate: int, embed: Embedder
) -> Tensor:
    """Frechet distance between the embeddings of truth and estimate, a song at a time.

    The clouds are not paired, so it hears what an estimate sounds like, and not whether it sounds
    so at the right moment. NaN for a target whose reference or estimate is silent.

    Shape: (targets, channels, samples) twice -> (targets,).
    """
    return _over_targets(references, estimates, sample_rate, embed, frechet_distance)


def embedding_distance(
    references: Tensor, estimates: Tensor, sample_rate: int, embed: Embedder
) -> Tensor:
    """Mean squared difference between the embeddings of truth and estimate at the same moments.

    NaN for a target whose reference or estimate is silent.

    Shape: (targets, channels, samples) twice -> (targets,).
    """
    return _over_targets(
        references,
        estimates,
        sample_rate,
        embed,
        lambda truth, guess: (truth - guess).square().mean(),
    )


def clap(model: str = CLAP, device: str = "cpu") -> Embedder:
    """CLAP's audio tower on windows of 10 s every second, channels averaged.

    Args:
        model: Name on the hub, or a folder.
        device: Where it computes.

    Raises:
        UserError: The extra `embedding` is not installed, or the weights can't be had.
    """
    network, prepare = _loaded(model, "ClapModel", "ClapFeatureExtractor")
    network.to(device)

    @torch.no_grad()
    def embed(audio: Tensor, sample_rate: int) -> Tensor:
        rate = prepare.sampling_rate
        mono = _mono(audio, sample_rate, rate)
        window, hop = round(CLAP_WINDOW * rate), round(CLAP_HOP * rate)
        cuts = _windows(mono, window, hop)
        parts = []
        for batch in cuts.split(TOGETHER):
            ready = prepare(list(batch.numpy()), sampling_rate=rate, return_tensors="pt")
            found = network.get_audio_features(**ready.to(device))
            parts.append(getattr(found, "pooler_output", found).cpu())
        return torch.cat(parts)

    return embed


def mert(model: str = MERT, device: str = "cpu") -> Embedder:
    """MERT's mean over layers, 75 frames a second, on windows of 5 s, channels averaged.

    Its weights are read into transformers' own HuBERT, which has the same layers, so that no code
    of the publisher's runs here; weights that don't fit are refused.

    Args:
        model: Name on the hub, or a folder.
        device: Where it computes.

    Raises:
        UserError: The extra `embedding` is not installed, or the weights can't be had or don't fit.
    """
    network, prepare = _loaded(model, "HubertModel", "Wav2Vec2FeatureExtractor")
    network.to(device)

    @torch.no_grad()
    def embed(audio: Tensor, sample_rate: int) -> Tensor:
        rate = prepare.sampling_rate
        window = round(MERT_WINDOW * rate)
        cuts = _windows(_mono(audio, sample_rate, rate), window, window)
        parts = []
        for batch in cuts.split(TOGETHER):
            ready = prepare(list(batch.numpy()), sampling_rate=rate, return_tensors="pt")
            layers = network(ready["input_values"].to(device), output_hidden_states=True)
            parts.append(torch.stack(layers.hidden_states).mean(0).flatten(0, 1).cpu())
        return torch.cat(parts)

    return embed


def _over_targets(
    references: Tensor,
    estimates: Tensor,
    sample_rate: int,
    embed: Embedder,
    distance: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    if references.shape != estimates.shape or references.ndim != 3:
        raise UserError(
            f"references have shape {tuple(references.shape)}, estimates {tuple(estimates.shape)}:"
            " expected the same (targets, channels, samples)."
        )
    values = []
    for truth, guess in zip(references, estimates, strict=True):
        sounds = bool(truth.any()) and bool(guess.any())
        clouds = [embed(signal, sample_rate) for signal in (truth, guess)] if sounds else []
        values.append(distance(*clouds).double() if sounds else torch.tensor(torch.nan).double())
    return torch.stack(values)


def _loaded(model: str, network_class: str, extractor_class: str) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError:
        raise UserError(
            "embedding metrics need the extra 'embedding': pip install 'sepexp[embedding]'"
        ) from None
    try:
        # safetensors or plain tensors: neither can run code when loaded
        network, info = getattr(transformers, network_class).from_pretrained(
            model, output_loading_info=True
        )
        prepare = getattr(transformers, extractor_class).from_pretrained(model)
    except (OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the weights of {model} can't be had ({first}): they are fetched once over the"
            " network, or name a folder that holds them"
        ) from None
    missing = sorted(info["missing_keys"])
    if missing:
        raise UserError(
            f"{model} lacks {len(missing)} weights of a {network_class} ({missing[0]}, ...): it is"
            " another network than expected"
        )
    return network.eval(), prepare


def _mono(audio: Tensor, sample_rate: int, wanted: int) -> Tensor:
    from torchaudio.functional import resample

    mono = audio.detach().cpu().float().mean(0)
    return mono if sample_rate == wanted else resample(mono, sample_rate, wanted)


def _windows(mono: Tensor, window: int, hop: int) -> Tensor:
    """Full windows; audio shorter than one is padded with zeros: (windows, window)."""
    if len(mono) < window:
        mono = torch.nn.functional.pad(mono, (0, window - len(mono)))
    return mono.unfold(0, window, hop)
