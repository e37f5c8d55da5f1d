"""Downloads of public data sets: checked, resumable and placed atomically.

The bytes go to ``<name>.part``; only a complete file that has the right length and checksum is renamed to its name. So a file under its
own name is always whole, and an interrupted transfer carries on where it stopped instead of fetching gigabytes again. One process
fetches a file; the others wait for it.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import requests
import urllib3
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from clickflow.errors import DataError

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
LOCAL_COPY = "or fetch the file elsewhere and set data.path= to your copy."


def download(url: str, path: Path, md5: str | None = None) -> Path:
    """Fetch a file, unless it is there already.

    A transfer that breaks off leaves ``<path>.part``, and the next call asks the server for the rest (HTTP Range). Without a
    checksum nothing but the length is compared here; the zip and gzip formats carry checksums that are compared on reading.

    Args:
        url: http or https address.
        path: of the file; its folder is created.
        md5: hexadecimal checksum of the file, None if its publisher gives no stable one.

    Returns:
        ``path``.

    Raises:
        DataError: the address cannot be reached or refuses, the transfer breaks off, the checksum differs (the part is
            removed), or the disk is full or read-only.
    """
    if path.exists():
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                _transfer(url, part)
                _check_md5(url, part, md5)
                part.replace(path)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise DataError(_transfer_failed(url, part, error)) from error
    except OSError as error:
        raise DataError(f"{path} = {url}: cannot be written ({error.strerror}); free or choose another disk, {LOCAL_COPY}") from error
    return path


def _transfer(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    # "identity": a server that compresses on the fly would make lengths and ranges meaningless.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable and have:
            if _total_bytes(response, have) == have:  # all of it had come before the interruption
                return
            part.unlink()  # longer than the file at the server: not a beginning of it
            response.close()
            return _transfer(url, part)
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            have = 0  # the server knows no ranges and sends the whole file
        total = _total_bytes(response, have)
        _check_space(url, part, (total or have) - have)
        with part.open("ab" if have else "wb") as file:
            for chunk in _with_progress(response, part.name.removesuffix(".part"), have, total):
                file.write(chunk)
        came = part.stat().st_size
        if total is not None and came != total:
            part.unlink()
            raise DataError(f"{url}: {came:,} bytes came, and the server announced {total:,}; run again, {LOCAL_COPY}")


def _total_bytes(response: requests.Response, have: int) -> int | None:
    """Length of the whole file, from ``Content-Range: bytes 5-9/10`` or what is left to come."""
    if match := re.search(r"/(\d+)$", response.headers.get("Content-Range", "")):
        return int(match[1])
    length = response.headers.get("Content-Length")
    return have + int(length) if length else None


def _check_space(url: str, part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DataError(
            f"{part.parent} = {url}: {needed:,} bytes are to come and {free:,} are free; free or choose another disk, {LOCAL_COPY}"
        )


def _with_progress(response: requests.Response, name: str, have: int, total: int | None) -> Iterator[bytes]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total, completed=have)
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            yield chunk
            progress.advance(task, len(chunk))


def _check_md5(url: str, part: Path, md5: str | None) -> None:
    if md5 is None:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        part.unlink()
        raise DataError(f"{url} = md5 {found}: not the file that was expected (md5 {md5}), it was removed; run again, {LOCAL_COPY}")


def _transfer_failed(url: str, part: Path, error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{url} = HTTP status {error.response.status_code}: the server refuses; check data.url, {LOCAL_COPY}"
    have = part.stat().st_size if part.exists() else 0
    if have:
        return f"{url}: the transfer broke off after {have:,} bytes; run again and it carries on from there, {LOCAL_COPY}"
    return f"{url}: cannot be reached ({type(error).__name__}); check the network, {LOCAL_COPY}"
