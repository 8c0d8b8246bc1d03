"""`python -m sepexp models`: what there is, how large, and what it was checked against."""

from __future__ import annotations

import argparse
import inspect


def main(arguments: list[str]) -> None:
    """Print one line a model config."""
    parser = argparse.ArgumentParser(
        prog="python -m sepexp models",
        description="List the model configs with their trainable parameters at the sizes of their "
        "YAML, what they work at, and what they were checked against.",
    )
    parser.parse_args(arguments)
    import torch

    from sepexp import build
    from sepexp.cli.compose import compose, conf_dir, plain

    print(f"{'config':24}{'parameters':>14}  {'rate':>6} {'ch':>2}  checked against")
    for path in sorted((conf_dir() / "model").glob("*.yaml")):
        config = plain(compose([f"model={path.stem}"]))
        with torch.device("meta"):
            model = build.model(config)
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        module = inspect.getmodule(type(model))
        checked = getattr(module, "CHECKED", "")
        print(f"{path.stem:24}{count:>14,}  {model.sample_rate:>6} {model.channels:>2}  {checked}")
