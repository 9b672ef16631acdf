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

    def __init__(self, folder: Any) -> None:
        self.folder, self.steps = folder, 0

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


def main() -> None:
    with Session.from_environment() as session:
        folder = session.folder(OUTPUT)
        session.track(total_steps=STEPS, folder=folder)
        trainer = Trainer(
            accelerator=session.device.type,
            devices=1,
            max_steps=STEPS,
            callbacks=[Commit(folder)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        model, batches = Regression(), DataLoader(samples(), batch_size=8, shuffle=True)
        trainer.fit(model, batches, ckpt_path=str(folder.restored / "trainer.ckpt") if folder.restored else None)
        with session.export() as results:
            save_model(model, str(results / "model.safetensors"))


def samples() -> TensorDataset:
    inputs = torch.linspace(-1, 1, 400).view(100, 4)
    return TensorDataset(inputs, inputs.sum(dim=1, keepdim=True))
