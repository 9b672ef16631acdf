import os, signal, subprocess, sys, threading
import pytest
from spot.emulators.launcher import TrainerLauncher
from spot.emulators.reaper import Reaper

@pytest.mark.timeout(12)
def test_hang(trainer):
    life = trainer.start("--epochs", "100000")
    with Reaper() as r:
        p = TrainerLauncher(os.environ, r, program=("sleep",)).start({"workerPoolSpecs":[{"containerSpec":{"args":["8888"]}}]}, "x")
        threading.Event().wait(600)

@pytest.mark.timeout(12)
def test_hang_run():
    subprocess.run(["sleep", "7777"])

def test_ok():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert subprocess.run([sys.executable, "-c", "import signal; print(signal.getsignal(2))"], capture_output=True, text=True).stdout.strip() != "1"
