"""A file that appears under its final name only when it is whole."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epi_surgery.errors import SurgeryError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_target(path: Path, force: bool, source: Path | None = None) -> None:
    """Refuse a target that is the source, one that exists (unless forced), or one whose folder does not."""
    if source is not None and path.resolve() == source.resolve():
        raise SurgeryError(f"{path}: is the model itself; choose another name for what is made from it")
    if path.is_dir():
        raise SurgeryError(f"{path}: is a folder; give the name of the file to write")
    if path.exists() and not force:
        raise SurgeryError(f"{path}: already exists; choose another name or add --force to replace it")
    if not path.parent.is_dir():
        raise SurgeryError(f"{path.parent}: no such folder; create it first")


def check_folder(path: Path, force: bool, source: Path) -> None:
    """As `check_target`, for a folder of files; forced, only a folder is replaced."""
    if path.resolve() == source.resolve():
        raise SurgeryError(f"{path}: is the model itself; choose another name for what is made from it")
    if path.exists() and not (force and path.is_dir()):
        raise SurgeryError(f"{path}: already exists; choose another name or add --force to replace the folder")
    if not path.parent.is_dir():
        raise SurgeryError(f"{path.parent}: no such folder; create it first")


def check_space(folder: Path, n_bytes: int) -> None:
    """Refuse before the first byte where the file system has less than `n_bytes` free."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise SurgeryError(
            f"{folder}: {n_bytes:,} bytes are needed there and only {free:,} are free; make room or choose another folder"
        )


@contextmanager
def final_name(path: Path) -> Iterator[Path]:
    """Yield a temporary name in the same folder; rename it to `path` on success, delete it on any failure."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise _sentence(path, error) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def final_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: yield a new one beside `path`; rename it on success, delete it on any failure."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        if path.is_dir():
            shutil.rmtree(path)
        part.replace(path)
    except OSError as error:
        raise _sentence(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def scratch(path: Path, tag: str) -> Iterator[Path]:
    """Yield a temporary name beside `path` that is deleted at the end whatever happens."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{tag}")
    try:
        yield part
    except OSError as error:
        raise _sentence(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with final_name(path) as part:
        part.write_text(text, encoding="utf-8")


def _sentence(path: Path, error: OSError) -> SurgeryError:
    if error.errno in _DISK_FULL:
        return SurgeryError(f"{path}: the disk is full (or a size limit was met); nothing was left behind, make room first")
    return SurgeryError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}")
