"""Checkpoint with torch.distributed.checkpoint: `async_save` to local files, uploaded by google-cloud-storage.

Everything that PyTorch offers to make it quick is used: a stager kept from save to save, which reuses its memory,
cached plans, no fsync, and upload in the background thread or process. After SIGTERM the save is a synchronous one,
which need not stage. `.metadata` is uploaded last, as it is what a load reads first.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch.distributed as dist
from google.cloud import storage
from google.cloud.storage import transfer_manager
from torch._C._distributed_c10d import HashStore
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType, AsyncSaveResponse, async_save
from torch.distributed.checkpoint.state_dict_saver import save as save_now
from torch.distributed.checkpoint.storage import WriteResult

from benchmarks.ways import BUCKET
from benchmarks.workload import Workload

PREFIX = "dcp"
METADATA = ".metadata"


class UploadingWriter(FileSystemWriter):
    """Write `streams` local files, upload them in parallel, then the metadata, and remove them."""

    def __init__(self, folder: Path, prefix: str, streams: int) -> None:
        super().__init__(folder, thread_count=streams, sync_files=False)
        self._folder = folder
        self._prefix = prefix
        self._streams = streams

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        super().finish(metadata, results)
        bucket = storage.Client().bucket(BUCKET)
        names = [path.name for path in self._folder.glob("*.distcp")]
        if self._streams == 1:
            for name in names:
                bucket.blob(f"{self._prefix}/{name}").upload_from_filename(str(self._folder / name))
        else:
            transfer_manager.upload_many_from_filenames(
                bucket,
                names,
                source_directory=str(self._folder),
                blob_name_prefix=f"{self._prefix}/",
                worker_type=transfer_manager.THREAD,
                max_workers=self._streams,
                raise_exception=True,
            )
        bucket.blob(f"{self._prefix}/{METADATA}").upload_from_filename(str(self._folder / METADATA))
        shutil.rmtree(self._folder)


class Distributed:
    """Run `async_save` in a thread or a process in the benchmark's loop."""

    def __init__(self, workload: Workload, folder: Path, *, process: bool, streams: int) -> None:
        self._workload = workload
        self._folder = folder
        self._streams = streams
        self._kind = AsyncCheckpointerType.PROCESS if process else AsyncCheckpointerType.THREAD
        self._planner = DefaultSavePlanner(enable_plan_caching=True)
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=False,
                use_shared_memory=process,
                use_async_staging=False,
                use_non_blocking_copy=False,
            )
        )
        self._step: int | None = None
        self._future: Future[Any] | None = None
        os.environ["MASTER_ADDR"] = "127.0.0.1"
        dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)

    def save(self) -> None:
        reply = async_save(
            self._state(),
            storage_writer=self._writer(),
            planner=self._planner,
            async_checkpointer_type=self._kind,
            async_stager=self._stager,
        )
        self._future = reply.upload_completion if isinstance(reply, AsyncSaveResponse) else reply
        self._step = self._workload.steps

    def busy(self) -> bool:
        if self._future and self._future.done():
            self._future.result()
            self._future = None
        return self._future is not None

    def finish(self) -> None:
        if self._future:
            self._future.result()
        if self._step != self._workload.steps:
            save_now(self._state(), storage_writer=self._writer())

    def helpers(self) -> list[int]:
        return [child.pid for child in multiprocessing.active_children() if child.pid]

    def close(self) -> None:
        for child in multiprocessing.active_children():
            child.kill()
        dist.destroy_process_group()

    def _state(self) -> dict[str, Any]:
        return {"model": self._workload.model.state_dict(), "optimizer": self._workload.optimizer.state_dict()}

    def _writer(self) -> UploadingWriter:
        step = f"{self._workload.steps:010d}"
        return UploadingWriter(self._folder / step, f"{PREFIX}/{step}", self._streams)
