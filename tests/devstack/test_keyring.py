"""Secrets: made once, private, never made anew beside data that depends on them."""

import json
from pathlib import Path

import pytest

from devstack.faults import CannotStart
from devstack.keyring import Keyring, write_private


def test_secrets_are_made_once_and_are_private(tmp_path: Path) -> None:
    file, data = tmp_path / "secrets.json", tmp_path / "postgres"
    first = Keyring.kept_in(file, beside=data)
    data.mkdir()
    assert Keyring.kept_in(file, beside=data) == first
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(set(json.loads(file.read_text()).values())) == len(Keyring.__struct_fields__)


def test_a_secret_of_a_later_version_is_added_to_an_older_file(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    Keyring.kept_in(file, beside=tmp_path / "none")
    older = json.loads(file.read_text())
    del older["index_key"]
    file.write_text(json.dumps(older))
    now = Keyring.kept_in(file, beside=tmp_path)
    assert now.kek == older["kek"]
    assert json.loads(file.read_text())["index_key"] == now.index_key


def test_lost_secrets_beside_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"secrets\.json is missing, and .* cannot be read without it"):
        Keyring.kept_in(tmp_path / "secrets.json", beside=tmp_path)


def test_a_spoilt_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text('{"kek": 7}')
    with pytest.raises(CannotStart, match="cannot be read"):
        Keyring.kept_in(file, beside=tmp_path)
    assert file.read_text() == '{"kek": 7}'


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    write_private(file, b"old")
    with file.open("rb") as reader:
        write_private(file, b"new")
        assert reader.read() == b"old"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]
