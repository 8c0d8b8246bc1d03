"""The metric card says everything, and its fingerprint knows the track list."""

from __future__ import annotations

import json

import pytest

from sepexp.errors import UserError
from sepexp.metric.card import DEFINITIONS, MetricCard, museval_card, track_list_fingerprint


def test_museval_card() -> None:
    card = museval_card("SDR", 1.0, 1.0, "MUSDB18 test", ["b", "a"])
    assert card.tracks == ("median", "mean")
    text = card.as_markdown()
    for part in (
        "BSSEval v4",
        "1 s, 1 s",
        "median and mean",
        "MUSDB18 test, 2 tracks",
        card.track_list,
    ):
        assert part in text
    assert all(line.replace("\\|", "").count("|") == 3 for line in text.splitlines())
    assert MetricCard(**json.loads(json.dumps(card.as_dict())) | {"tracks": card.tracks}) == card


def test_card_without_frames() -> None:
    card = MetricCard(
        metric="uSDR",
        definition=DEFINITIONS["uSDR"],
        window=None,
        hop=None,
        silence="delta keeps it finite",
        frames=None,
        tracks=("median", "mean"),
        split="demo test",
        track_count=3,
        track_list=track_list_fingerprint(["a", "b", "c"]),
    )
    assert "| Window, hop | whole track |" in card.as_markdown()
    assert "| Over frames | none |" in card.as_markdown()


def test_fingerprint() -> None:
    assert track_list_fingerprint(["a", "b"]) == track_list_fingerprint(["b", "a"])
    assert track_list_fingerprint(["a", "b"]) != track_list_fingerprint(["a"])
    assert track_list_fingerprint(["ab"]) != track_list_fingerprint(["a", "b"])
    with pytest.raises(UserError, match="twice: a"):
        track_list_fingerprint(["a", "b", "a"])


def test_refuses_metrics_without_frames() -> None:
    with pytest.raises(UserError, match="uSDR"):
        museval_card("uSDR", 1.0, 1.0, "test", ["a"])
