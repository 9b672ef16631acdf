"""Read the text files that a user writes."""

from pathlib import Path

from spot.core.errors import SpotError


def read_text(path: Path, fix: str = "") -> str:
    """Return a UTF-8 file. Raise `FileNotFoundError`, or `SpotError` for a file that cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"line {line} is not UTF-8 (byte 0x{error.object[error.start]:02x})"
        raise SpotError(f"{path}: {what}", fix=fix or "save it as UTF-8") from None
    except OSError as error:
        raise SpotError(f"{path}: cannot be read ({error.strerror})", fix=fix) from None
