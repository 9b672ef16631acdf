"""Train, save and resume: `python -m task --help` lists the flags."""

from spot.trainer import entry

if __name__ == "__main__":
    entry(config="task.config", model="task.model", data="task.data")
