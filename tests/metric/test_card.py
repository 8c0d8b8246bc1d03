"""The metric card says everything, and its fingerprint knows the track list."""

from __future__ import annotations

import json

import pytest

from sepexp.errors import UserError
from sepexp.metric import by_name
from sepexp.metric.card import (
    DEFINITIONS,
    MetricCard,
    cards_text,
    metric_card,
    track_list_fingerprint,
    unit,
)

FACTS = {"window": 1.0, "hop": 0.5, "split": "MUSDB18 test", "names": ["b", "a"]}


def test_card_of_frames_says_everything() -> None:
    card = metric_card("SDR", **FACTS, backend="museval")  # type: ignore[arg-type]
    text = card.as_text()
    for part in (
        "BSSEval v4", "computed by museval", "window 1 s, hop 0.5 s", "over frames: median",
        "median / mean", "silent reference", "MUSDB18 test, 2 tracks", card.track_list,
    ):  # fmt: skip
        assert part in text
    assert MetricCard(**json.loads(json.dumps(card.as_dict())) | {"tracks": card.tracks}) == card


def test_card_of_a_whole_track() -> None:
    card = metric_card("uSDR", **FACTS, backend="museval")  # type: ignore[arg-type]
    assert card.window is None and card.frames is None
    assert "whole track" in card.as_text() and "museval" not in card.definition
    assert "no definition" in metric_card("mine", **FACTS).definition  # type: ignore[arg-type]


def test_cards_say_once_what_they_share() -> None:
    cards = [metric_card(name, **FACTS) for name in ("SDR", "SIR", "uSDR")]  # type: ignore[arg-type]
    lines = cards_text(cards)
    assert len(lines) == 5 and lines[3].startswith("SDR, SIR: silence: ")


def test_every_score_has_a_definition_and_a_unit() -> None:
    assert {*by_name.MAKERS, *by_name.EMBEDDINGS, "leak"} <= set(DEFINITIONS)
    assert unit("leak of drums") == unit("SDR") == "dB" and unit("fullness") == ""


def test_fingerprint() -> None:
    assert track_list_fingerprint(["a", "b"]) == track_list_fingerprint(["b", "a"])
    assert track_list_fingerprint(["a", "b"]) != track_list_fingerprint(["a"])
    assert track_list_fingerprint(["ab"]) != track_list_fingerprint(["a", "b"])
    with pytest.raises(UserError, match="twice: a"):
        track_list_fingerprint(["a", "b", "a"])
