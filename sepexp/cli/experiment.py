"""One experiment from its composed config: build, train, test, tell."""

from __future__ import annotations

import ctypes
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from sepexp import build
from sepexp.cli.stream import make_stream
from sepexp.cli.test import test_run
from sepexp.errors import UserError
from sepexp.guard import check_selection
from sepexp.loss.combine import TargetWeights
from sepexp.preflight import check_devices, check_model, check_scores, check_targets
from sepexp.run import Run, find_resumable, identity, now
from sepexp.separator import Separator, target_names
from sepexp.trainer.processes import Processes, has_unread_parameters, leave_group
from sepexp.trainer.resume import Passport


def run(config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Train, then test; in a rank that another process started, only train.

    Args:
        config: The composed config, plain and resolved.
        overrides: What the command line said, for the passport and for the other ranks.
    """
    quiet()
    keep_memory()
    leader = int(os.environ.get("LOCAL_RANK", 0)) == 0 and int(os.environ.get("NODE_RANK", 0)) == 0
    check_scores(config["metric"])
    check_targets(config["sources"], config["targets"])
    check_devices(config["trainer"])
    folder, checkpoint = place(config) if leader else (Run(Path(config["folder"])), _last(config))
    if leader:
        folder.open(config, overrides, resumes=checkpoint is not None)
        say(f"run folder: {folder.folder}")
    try:
        seconds = train(config, overrides, folder, checkpoint, leader)
        if leader:
            if seconds is not None:
                folder.note(train_seconds=folder.passport().get("train_seconds", 0) + seconds)
            # whoever names a package in this very command trusts it
            test_run(folder, trust=[config["model"]["_target_"].partition(".")[0]])
            folder.note(status="finished", finished=now())
    except BaseException as error:
        if leader:
            folder.note(status="interrupted" if _interrupt(error) else "failed", finished=now())
        raise
    finally:
        leave_group()


def place(config: dict[str, Any]) -> tuple[Run, Path | None]:
    """The run's folder and the checkpoint that it goes on from, if any.

    Raises:
        UserError: `resume` names something that can't be resumed with this config.
    """
    here, resume = Run(Path(config["folder"])), config["resume"]
    if resume is None:
        return here, None
    if resume == "auto":
        found = find_resumable(config, Path(config["runs"]), here.folder)
        if found is None:
            say("resume=auto: no earlier run of this config with a checkpoint, so it starts anew")
            return here, None
    else:
        path = Path(resume)
        found = Run(path.parent.parent if path.is_file() else path)
        if not (path.is_file() or found.last_checkpoint.is_file()):
            raise UserError(
                f"resume={resume}: expected auto, a run folder with checkpoints/last.ckpt, or a "
                "checkpoint file"
            )
    if found.folder.resolve() != here.folder.resolve():
        _forget_empty(here.folder)
    config["folder"] = str(found.folder.resolve())
    _point_at(config["trainer"], config["folder"], str(here.folder))
    checkpoint = Path(resume) if Path(str(resume)).is_file() else found.last_checkpoint
    if not checkpoint.is_file():
        return Run(Path(config["folder"])), None
    check_same_model(checkpoint, config)
    say(f"goes on from {checkpoint}")
    return Run(Path(config["folder"])), checkpoint


def check_same_model(checkpoint: Path, config: Mapping[str, Any]) -> None:
    """Refuse the checkpoint of another model before anything is built.

    Raises:
        UserError: The file is none of ours, or its model or targets differ.
    """
    saved = build.read_checkpoint(checkpoint)["sepexp"]["config"]
    for key in ("model", "targets"):
        if saved[key] != config[key]:
            raise UserError(
                f"{checkpoint} holds {_short(saved, key)}, but this config asks for "
                f"{_short(config, key)}: resume with the same model, or start anew without resume"
            )


def _short(config: Mapping[str, Any], key: str) -> str:
    if key == "targets":
        return f"targets {', '.join(target_names(config['targets']))}"
    sizes = ", ".join(f"{k}={v}" for k, v in config["model"].items() if k != "_target_")
    return f"a {config['model']['_target_'].rpartition('.')[2]} ({sizes})"


def train(
    config: dict[str, Any],
    overrides: Sequence[str],
    folder: Run,
    checkpoint: Path | None,
    leader: bool,
) -> float | None:
    """Fit the model; None for one in which nothing needs a gradient.

    Returns:
        The seconds that it took.
    """
    lightning.seed_everything(config["seed"], workers=False, verbose=False)
    model = build.model(config)
    loss = build.instantiate(config["loss"], where="loss")
    names = target_names(config["targets"])
    if config["target_weights"]:
        loss = TargetWeights(loss=loss, weights=_weights(config["target_weights"], names))
    check_model(
        model,
        loss,
        segment=config["data"]["segment"],
        sample_rate=config["sample_rate"],
        targets=len(names),
    )
    stream = make_stream(config, model)
    if leader:
        stream.prepare_data()
    stream.setup("fit")
    separator = make_separator(config, model, loss)
    if leader:
        folder.note(**facts(config, model, stream))
        note_selection(config, stream, folder)
        if checkpoint is None and hasattr(model, "prepare"):
            say("the model looks at the training songs first")
            model.prepare(Songs(stream, separator))
    trainer = make_trainer(config, overrides, names, unread=has_unread_parameters(model))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        say("nothing in this model is trained: it goes straight to the test")
        trainer.strategy.connect(separator)
        trainer.save_checkpoint(folder.last_checkpoint)
        return None
    if config["compile"]:
        model.compile()
    began = time.monotonic()
    start = str(checkpoint) if checkpoint else None
    try:
        trainer.fit(separator, datamodule=stream, ckpt_path=start, weights_only=True)
    except SystemExit:  # Lightning's way of ending after an interrupt
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    if leader:
        note_end(trainer, folder)
    return time.monotonic() - began


def note_selection(config: Mapping[str, Any], stream: Any, folder: Run) -> None:
    """Refuse to choose on test songs, or note which they are where that is allowed."""
    shared = check_selection(
        train=stream.tracks("train"),
        valid=stream.tracks("valid"),
        test=stream.tracks("test"),
        allowed=config["allow_test_selection"],
    )
    if shared:
        folder.note(test_selection=shared)


def note_end(trainer: lightning.Trainer, folder: Run) -> None:
    """How long the training was and the best of what it was judged by."""
    best = trainer.checkpoint_callbacks[0]
    score = getattr(best, "best_model_score", None)
    folder.note(
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        best={getattr(best, "monitor", ""): float(score)} if score is not None else None,
    )


def make_separator(
    config: Mapping[str, Any], model: torch.nn.Module, loss: torch.nn.Module
) -> Separator:
    """The Lightning module of a config."""
    return Separator(
        model=model,
        loss=loss,
        optimizer=build.instantiate(config["optimizer"], where="optimizer"),
        scheduler=build.instantiate(config["scheduler"], where="scheduler"),
        sources=config["sources"],
        targets=config["targets"],
        inference=build.instantiate(config["inference"], where="inference"),
        sample_rate=config["sample_rate"],
    )


def make_trainer(
    config: Mapping[str, Any],
    overrides: Sequence[str],
    targets: list[str],
    *,
    unread: bool = False,
) -> lightning.Trainer:
    """Lightning's trainer with our callbacks, loggers and, for several devices, processes.

    `unread` says that some of the model's parameters get no gradient.
    """
    settings = dict(config["trainer"])
    for key in ("callbacks", "logger"):
        blocks = settings.pop(key) or {}
        built = [
            build.instantiate(block, where=f"trainer.{key}.{name}")
            for name, block in blocks.items()
            if block is not None and (name != "progress" or settings["enable_progress_bar"])
        ]
        settings[key] = [part for part in built if part is not None]
    settings["callbacks"].append(Passport(config=config, targets=targets))
    several = settings["devices"] not in (1, "1", [0]) or settings["num_nodes"] > 1
    if several and settings.get("strategy", "auto") == "auto":
        settings["strategy"] = Processes(command=_rank_command(config, overrides), unread=unread)
    return build.instantiate(settings, where="trainer")


def _rank_command(config: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """What the other ranks run: this very job, in this very folder, and no sweep."""
    kept = [o for o in overrides if not o.startswith("resume=")]
    place = [f'hydra.run.dir="{config["folder"]}"', "hydra.mode=RUN"]
    resume = [f"resume={config['resume']}"] if config["resume"] else []
    return [sys.executable, "-m", "sepexp", *kept, *resume, *place]


def _last(config: Mapping[str, Any]) -> Path | None:
    """The checkpoint that the first rank goes on from, as another rank sees it."""
    if not config["resume"]:
        return None
    if Path(config["resume"]).is_file():
        return Path(config["resume"])
    last = Run(Path(config["folder"])).last_checkpoint
    return last if last.is_file() else None


def facts(config: Mapping[str, Any], model: torch.nn.Module, stream: Any) -> dict[str, Any]:
    """What the passport says of model and data."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "model": config["model"]["_target_"],
        "parameters": trained,
        "data": {
            "name": config["data"]["corpus"]["_target_"].rpartition(".")[2],
            "note": getattr(stream, "note", ""),
            "fingerprint": stream.fingerprint(),
            "tracks": {s: [t.name for t in stream.tracks(s)] for s in ("train", "valid", "test")},
        },
        "identity": identity(config),
    }


class Songs:
    """The training songs as a model's `prepare` reads them: at its rate, one at a time."""

    def __init__(self, stream: Any, separator: Separator) -> None:
        self.stream, self.separator = stream, separator

    def __len__(self) -> int:
        return len(self.stream.tracks("train"))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for track in self.stream.tracks("train"):
            mixture, targets = self.separator.example(self.stream.whole(track).stems[None])
            yield mixture[0], targets[0]


def _weights(weights: Mapping[str, float], names: list[str]) -> list[float]:
    strangers = sorted(set(weights) - set(names))
    if strangers:
        raise UserError(
            f"target_weights names {', '.join(strangers)}, but the targets are {', '.join(names)}"
        )
    return [float(weights.get(name, 1.0)) for name in names]


def _point_at(tree: Any, folder: str, earlier: str) -> None:
    """Callbacks and loggers write where the run is resumed, not where it would have started."""
    for key, value in tree.items():
        if isinstance(value, dict):
            _point_at(value, folder, earlier)
        elif isinstance(value, str) and value.startswith(earlier):
            tree[key] = folder + value.removeprefix(earlier)


def _forget_empty(folder: Path) -> None:
    """Hydra made a folder for this start; the run goes on in its old one."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _interrupt(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt)


def quiet() -> None:
    """Leave out what libraries say that no user can act on."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*sync_dist.*", ".*isinstance.*LeafSpec.*"):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def keep_memory() -> None:
    """Let glibc keep big blocks instead of giving them back to the system after every step.

    A step on a CPU takes and frees hundreds of megabytes, and a fresh page costs about two
    microseconds: a fifth of a small model's step. Other C libraries are left alone.
    """
    mmap_max, trim_threshold = -4, -1
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, flush=True)
