"""Train this task, with shorter waits for lost ranks."""

from spot.trainer import entry
from spot.trainer.context import Runtime
from spot.trainer.distributed.group import PeerTiming
from spot.trainer.start import set_runtime

P = "tests.machinery.tasks.transformer"

if __name__ == "__main__":
    set_runtime(Runtime(peers=PeerTiming(rendezvous_s=90, collective_s=10, vote_s=10)))
    entry(config=f"{P}.config", model=f"{P}.model", data=f"{P}.data")
