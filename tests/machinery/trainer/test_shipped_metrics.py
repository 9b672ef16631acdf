"""Test that the reported metrics are those of the shipped files, whichever step is shipped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from spot.trainer import Sample
from spot.trainer.results.export import load_exported
from tests.machinery.tasks.gpt import data
from tests.machinery.tasks.gpt.config import Config
from tests.machinery.trainer.conftest import Trainer
from tests.machinery.zygote import Zygote

FLAGS = ("--batch-size", "16", "--precision", "full", "--log-interval", "1000", "--checkpoint-interval", "1000")


def train(zygote: Zygote, folder: Path, *flags: str) -> dict[str, object]:
    """Return metrics.json of a training of the language model."""
    trainer = Trainer(zygote, str(folder), {"STEP_S": "0"}, "tests.machinery.tasks.gpt")
    process = trainer.start(*FLAGS, *flags)
    assert process.wait() == 0, process.output + process.errors
    metrics: dict[str, object] = json.loads(trainer.result()[1])
    return metrics


def evaluated_again(folder: Path, uri: str, batch_size: int = 16) -> float:
    """Return the perplexity of the shipped files on the held-out data, computed without the trainer."""
    from tests.machinery.tasks.gpt import model  # imports transformers, which every collection would pay

    shipped = load_exported(folder / "models/default/model")
    texts = data.load(Config(), uri).held_out
    found: list[torch.Tensor] = []
    for start in range(0, len(texts), batch_size):
        visits = range(start, min(start + batch_size, len(texts)))
        batch = data.padded([texts[Sample(seed=0, epoch=0, index=index)] for index in visits])
        with torch.no_grad():
            values, weights = model.evaluation_step(shipped, batch)["perplexity"]
        found.append(torch.stack([values.double(), weights.double()]))
    samples, weights = torch.cat(found, dim=1)
    return math.exp(float((samples * weights).sum()) / float(weights.sum()))


def test_a_perplexity_that_improves_is_trained_to_the_end_in_spite_of_patience(zygote: Zygote, tmp_path: Path) -> None:
    metrics = train(zygote, tmp_path, "--patience", "1", "--epochs", "5")
    perplexities = [entry["perplexity"] for entry in metrics["history"]]  # type: ignore[attr-defined]
    assert perplexities == sorted(perplexities, reverse=True)
    assert len(perplexities) == 5
    assert metrics["steps"] == metrics["total_steps"] == metrics["best"]["step"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("flags", "uri", "last"),
    [
        pytest.param((), "sample", True, id="last step"),
        pytest.param(("--ema", "0.8"), "sample", True, id="average"),
        pytest.param(("--patience", "2"), "noise", False, id="best step"),
        pytest.param(("--patience", "2", "--ema", "0.8"), "noise", False, id="average at the best step"),
        pytest.param((), "noise", True, id="last step, not the best"),
    ],
)
def test_the_metrics_are_those_of_the_shipped_files(
    flags: tuple[str, ...], uri: str, last: bool, zygote: Zygote, tmp_path: Path
) -> None:
    epochs = ("--epochs", "3") if uri == "sample" else ("--epochs", "12", "--learning-rate", "0.02")
    metrics = train(zygote, tmp_path, "--data", uri, *epochs, *flags)
    shipped: dict[str, float] = metrics["shipped"]  # type: ignore[assignment]
    assert (shipped["step"] == metrics["steps"]) is last
    assert shipped["perplexity"] == evaluated_again(tmp_path, uri)
    if uri == "noise":
        best: dict[str, float] = metrics["best"]  # type: ignore[assignment]
        assert best["step"] < metrics["steps"]  # type: ignore[operator]
        assert (best["perplexity"] == shipped["perplexity"]) is not last
