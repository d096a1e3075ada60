"""The address of the server that uses a data folder, in a file there: `igob request` finds it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "address"


@contextmanager
def address_kept(folder: Path, url: str) -> Iterator[None]:
    """Keep the address in the folder while the block runs. Without the folder, it is not kept."""
    file = folder / NAME
    with suppress(FileNotFoundError):
        file.write_text(url, encoding="utf-8")
    try:
        yield
    finally:
        if kept_address(folder) == url:
            file.unlink(missing_ok=True)


def kept_address(folder: Path) -> str:
    """The address that is kept in the folder; "" if none is. A server that was killed leaves it behind."""
    try:
        return (folder / NAME).read_text(encoding="utf-8")
    except OSError:
        return ""
