"""Train with a framework: `python -m tests.machinery.frameworks huggingface`."""

import sys

from spot.trainer import entry

if __name__ == "__main__":
    entry(loop=f"tests.machinery.frameworks.{sys.argv.pop(1)}")
