import hashlib
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clickflow.data.sources import download as module
from clickflow.data.sources.download import download
from clickflow.errors import DataError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
BLOCK = 300_000
MD5 = hashlib.md5(CONTENT).hexdigest()


class FileServer(ThreadingHTTPServer):
    """Server of one file at every address, which can stop after some bytes and refuse ranges."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.break_after: int | None = None
        self.knows_ranges = True
        self.ranges: list[str | None] = []
        self.pause_seconds = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data.zip"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        total = len(self.server.content)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.knows_ranges else 0
        if "missing" in self.path:
            self.send_error(404)
        elif start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            content = self.server.content[start : self.server.break_after]
            for at in range(0, len(content), BLOCK):
                self.wfile.write(content[at : at + BLOCK])
                time.sleep(self.server.pause_seconds)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(CONTENT) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def visible(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if not file.name.startswith(".")]


def test_a_download_is_placed_under_its_name_and_leaves_no_part(server, tmp_path):
    path = download(server.url, tmp_path / "new" / "data.zip", MD5)
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["data.zip"]


def test_a_file_that_exists_is_not_fetched_again(server, tmp_path):
    path = tmp_path / "data.zip"
    path.write_bytes(b"mine")
    assert download(server.url, path, MD5).read_bytes() == b"mine"
    assert server.ranges == []


def test_a_transfer_killed_half_way_carries_on_where_it_stopped(server, tmp_path):
    server.break_after = len(CONTENT) // 2
    with pytest.raises(DataError, match=r"broke off after 1,\d{3},\d{3} bytes; run again and it carries on from there"):
        download(server.url, tmp_path / "data.zip", MD5)
    assert not (tmp_path / "data.zip").exists()
    have = (tmp_path / "data.zip.part").stat().st_size
    assert 0 < have <= len(CONTENT) // 2

    server.break_after = None
    assert download(server.url, tmp_path / "data.zip", MD5).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={have}-"]


def test_three_processes_at_once_get_one_whole_file(server, tmp_path):
    server.pause_seconds = 0.2
    code = (
        "import sys; from pathlib import Path; from clickflow.data.sources.download import download;"
        "print(len(download(sys.argv[1], Path(sys.argv[2])).read_bytes()))"
    )
    command = [sys.executable, "-c", code, server.url, str(tmp_path / "data.zip")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [int(process.communicate(timeout=60)[0]) for process in processes] == [len(CONTENT)] * 3
    assert (tmp_path / "data.zip").read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_file_of_another_length_than_announced_never_gets_its_name(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_total_bytes", lambda response, have: len(CONTENT) + 1)
    with pytest.raises(DataError, match=r"data\.zip: 3,000,000 bytes came, and the server announced 3,000,001; run again, or fetch"):
        download(server.url, tmp_path / "data.zip")
    assert visible(tmp_path) == []


def test_a_server_without_ranges_sends_the_whole_file_again(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT[:1000])
    server.knows_ranges = False
    assert download(server.url, tmp_path / "data.zip", MD5).read_bytes() == CONTENT


def test_a_part_that_was_complete_is_placed_without_a_transfer(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "data.zip", MD5).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT + b"more")
    assert download(server.url, tmp_path / "data.zip", MD5).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_another_checksum_removes_the_part_and_says_so(server, tmp_path):
    with pytest.raises(DataError, match=rf"{re.escape(server.url)} = md5 {MD5}: not the file that was expected \(md5 0+\).*data\.path="):
        download(server.url, tmp_path / "data.zip", "0" * 32)
    assert visible(tmp_path) == []


def test_an_unreachable_address_is_named_with_a_way_around_it(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/ml-1m.zip"
        with pytest.raises(DataError, match=rf"{re.escape(url)}: cannot be reached .*set data\.path= to your copy"):
            download(url, tmp_path / "ml-1m.zip")


def test_a_refusing_server_is_quoted(server, tmp_path):
    with pytest.raises(DataError, match=r"missing = HTTP status 404: the server refuses; check data\.url"):
        download(f"{server.url}/missing", tmp_path / "data.zip")


def test_too_little_space_is_reported_before_the_transfer(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"3,000,000 bytes are to come and 1,000 are free"):
        download(server.url, tmp_path / "data.zip")
    assert visible(tmp_path) == []


@contextmanager
def files_limited_to(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_one_can_act_on(server, tmp_path):
    with files_limited_to(1 << 20), pytest.raises(DataError, match=r"cannot be written \(File too large\); free or choose another disk"):
        download(server.url, tmp_path / "data.zip")
    assert not (tmp_path / "data.zip").exists()


def test_a_folder_that_cannot_be_made_is_an_error_one_can_act_on(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="cannot be written"):
        download(server.url, Path(tmp_path / "file" / "data.zip"))
