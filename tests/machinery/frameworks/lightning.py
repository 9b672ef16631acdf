"""The loop: train a regression with the Trainer of Lightning."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from spot.trainer import Session

OUTPUT = Path("output/lightning")
STEPS = 300


class Regression(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(self.network(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


class Commit(Callback):
    """Write a checkpoint when the session needs one, and commit it."""

    def __init__(self, session: Session, folder: Any) -> None:
        self.session, self.folder, self.steps = session, folder, 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.steps = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if trainer.global_step == self.steps:  # gradients are accumulated
            return
        self.steps = trainer.global_step
        if self.folder.step({"loss": outputs["loss"]}):
            checkpoint = self.folder.path / "newest"
            trainer.save_checkpoint(checkpoint / "trainer.ckpt")
            self.folder.save(checkpoint)
        trainer.should_stop |= self.session.finished


def main() -> None:
    with Session.from_environment(metrics={"error": "min"}) as session:
        folder = session.folder(OUTPUT)
        session.track(total_steps=STEPS, folder=folder)
        trainer = Trainer(
            accelerator=session.device.type,
            devices=1,
            max_steps=STEPS,
            callbacks=[Commit(session, folder)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        model, batches = Regression(), DataLoader(samples(100), batch_size=8, shuffle=True)
        checkpoint = str(folder.restored / "trainer.ckpt") if folder.restored else None
        if checkpoint and session.finished:
            model.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
        else:
            trainer.fit(model, batches, ckpt_path=checkpoint, weights_only=True)
        model.to(session.device).eval()
        session.evaluate(lambda batch: judge(model, batch), DataLoader(samples(20), batch_size=8))
        with session.export() as results:
            save_model(model, str(results / "model.safetensors"))


def judge(model: Regression, batch: list[Tensor]) -> dict[str, Tensor]:
    """Return the error of each sample."""
    inputs, targets = (tensor.to(model.device) for tensor in batch)
    return {"error": (model.network(inputs) - targets).square().mean(dim=1)}


def samples(count: int) -> TensorDataset:
    inputs = torch.linspace(-1, 1, 4 * count).view(count, 4)
    return TensorDataset(inputs, inputs.sum(dim=1, keepdim=True))
