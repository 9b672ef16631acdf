"""Train this task."""

from spot.trainer import entry

if __name__ == "__main__":
    entry(loop="tests.machinery.tasks.reshard.loop")
