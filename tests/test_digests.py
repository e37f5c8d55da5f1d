"""Digests against hashlib on the bytes that they are defined by."""

import hashlib

from clickflow.digests import digest_file, digest_files, digest_values


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"bytes")
    assert digest_file(tmp_path / "a") == hashlib.sha256(b"bytes").hexdigest()


def test_the_files_of_a_folder_are_named_by_their_path_in_it(tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("b", "inner/a"):
        (tmp_path / name).write_text(name)
    assert digest_files(tmp_path) == {name: hashlib.sha256(name.encode()).hexdigest() for name in ("b", "inner/a")}


def test_equal_values_have_equal_digests_and_others_do_not():
    assert digest_values({"a": 1, "b": [1, 2]}) == hashlib.sha256(b'{"a": 1, "b": [1, 2]}').hexdigest()
    assert digest_values({"b": [1, 2], "a": 1}) == digest_values({"a": 1, "b": [1, 2]})
    assert digest_values({"a": 1, "b": [2, 1]}) != digest_values({"a": 1, "b": [1, 2]})
