"""Save, set and seed the global generators of random numbers."""

import hashlib
import random
from typing import Any

import numpy as np
import torch

from spot.trainer.device import cuda_generators, set_cuda_generators


def generators() -> dict[str, Any]:
    """Return the states of the global generators."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": cuda_generators(),
    }


def set_generators(states: dict[str, Any]) -> None:
    """Set the states of the global generators. Raise `ValueError` or `TypeError` if they are none."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    try:
        torch.set_rng_state(states["torch"])
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    set_cuda_generators(states["cuda"])


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_rank(seed: int, step: int, rank: int) -> None:
    """Seed the global generators of a rank that trains on from `step`."""
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    seed_all(int.from_bytes(digest[:8], "big") >> 1)
