"""Checkpoint the article's way: torch.save to a file, two uploads and a metadata object, all in the training loop.

`CheckpointManager` is the article's code without its types, its print and its loading.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from google.cloud import storage
from torch import nn
from torch.optim import Optimizer

from benchmarks.ways import BUCKET
from benchmarks.workload import Workload

PREFIX = "article"


class CheckpointManager:
    """Manages training checkpoints in Cloud Storage for fault tolerance."""

    def __init__(self, checkpoint_dir: str, local_dir: str) -> None:
        self.checkpoint_dir = checkpoint_dir
        self.local_dir = local_dir
        os.makedirs(local_dir, exist_ok=True)  # noqa: PTH103

        parts = checkpoint_dir.replace("gs://", "").split("/", 1)
        self.bucket_name = parts[0]
        self.prefix = parts[1] if len(parts) > 1 else ""

        self.storage_client = storage.Client()
        self.bucket = self.storage_client.bucket(self.bucket_name)

    def save_checkpoint(
        self, model: nn.Module, optimizer: Optimizer, epoch: int, step: int, metrics: dict[str, Any]
    ) -> None:
        """Save a training checkpoint to Cloud Storage."""
        checkpoint = {
            "epoch": epoch,
            "step": step,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "metrics": metrics,
        }

        # Save locally first
        local_path = os.path.join(self.local_dir, f"checkpoint_epoch{epoch}_step{step}.pt")  # noqa: PTH118
        torch.save(checkpoint, local_path)

        # Upload to Cloud Storage
        gcs_path = f"{self.prefix}/checkpoint_epoch{epoch}_step{step}.pt"
        blob = self.bucket.blob(gcs_path)
        blob.upload_from_filename(local_path)

        # Also save as 'latest' for easy resumption
        latest_path = f"{self.prefix}/checkpoint_latest.pt"
        latest_blob = self.bucket.blob(latest_path)
        latest_blob.upload_from_filename(local_path)

        # Save metadata
        meta = {
            "epoch": epoch,
            "step": step,
            "metrics": metrics,
            "checkpoint_path": gcs_path,
        }
        meta_blob = self.bucket.blob(f"{self.prefix}/checkpoint_meta.json")
        meta_blob.upload_from_string(json.dumps(meta))

        # Clean up old local files to save disk space
        self._cleanup_local(keep_latest=2)

    def _cleanup_local(self, keep_latest: int = 2) -> None:
        """Remove old local checkpoint files to save disk space."""
        files = sorted(
            [f for f in os.listdir(self.local_dir) if f.startswith("checkpoint_")],  # noqa: PTH208
            key=lambda f: os.path.getmtime(os.path.join(self.local_dir, f)),  # noqa: PTH118, PTH204
        )
        for f in files[:-keep_latest]:
            os.remove(os.path.join(self.local_dir, f))  # noqa: PTH107, PTH118


class Article:
    """Run the article's manager in the benchmark's loop."""

    def __init__(self, workload: Workload, folder: Path) -> None:
        self._workload = workload
        self._manager = CheckpointManager(f"gs://{BUCKET}/{PREFIX}", str(folder))

    def save(self) -> None:
        workload = self._workload
        self._manager.save_checkpoint(workload.model, workload.optimizer, 0, workload.steps, {"loss": 0.0})

    def busy(self) -> bool:
        return False

    def finish(self) -> None:
        self.save()

    def helpers(self) -> list[int]:
        return []

    def close(self) -> None:
        pass
