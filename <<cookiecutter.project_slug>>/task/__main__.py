"""Train, save and resume: `python -m task`."""

from spot.trainer.main import entry

if __name__ == "__main__":
    entry(model="task.model", data="task.data")
