"""What is written down names no place of the machine, however the place is spelt and whatever stands around it."""

import errno
import os
from pathlib import Path

import pytest

from medlib import paths

HOME = "/home/someone"


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", HOME)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{HOME}/x:{HOME}/y {HOME}", "~/x:~/y ~"),
        (f"file://{HOME}/x", "file://~/x"),
        (repr(f"see\n{HOME}/x\t{HOME}"), r"'see\n~/x\t~'"),
        (f"\x1b[31m{HOME}/x\x1b[0m", "\x1b[31m~/x\x1b[0m"),
        (f"\x1b[1;31m{HOME}", "\x1b[1;31m~"),
        (f"gcc -I{HOME}/include -L{HOME}", "gcc -I~/include -L~"),
        (f"It lies in {HOME}. Look there.", "It lies in ~. Look there."),
        (f"It lies in {HOME}.", "It lies in ~."),
    ],
)
def test_a_place_is_taken_out_whatever_stands_around_it(text, shown):
    assert paths.public(text) == shown


@pytest.mark.parametrize("text", [f"{HOME}s", f"{HOME}-2", f"{HOME}.old/x", f"/mnt{HOME}/x", f"a.{HOME}", f"x-y{HOME}"])
def test_a_longer_name_is_no_place(text):
    assert paths.public(text) == text


def test_a_place_behind_a_link_is_taken_out_by_either_name(tmp_path, monkeypatch):
    (tmp_path / "there" / "me").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    for place, name in (("home", "~"), ("house", ".")):
        linked = tmp_path / "link" / "me"
        monkeypatch.setenv("HOME", str(linked) if place == "home" else HOME)
        house = linked if place == "house" else Path("/srv/house")
        assert paths.public([f"{linked}/x", f"{linked.resolve()}/x"], house) == [f"{name}/x"] * 2


def test_a_write_that_fails_names_the_file_that_was_to_be_written(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        paths.write_atomically(tmp_path / "x.json", b"new")
    assert caught.value.filename == str(tmp_path / "x.json")
