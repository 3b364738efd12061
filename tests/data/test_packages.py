"""Packages of registries: checked archives in the cache, and what is said where one cannot be fetched."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from zoo.data.packages import DebianPackage
from zoo.errors import InvalidFileError, MissingDependencyError, WriteError
from zoo.io.weights import digest


@pytest.fixture
def archive(own_cache: Path) -> Path:
    """The archive of a Debian package, in the cache: an `ar` archive with a compressed tar in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as file:
        for name in ("b.txt", "a.txt"):
            info = tarfile.TarInfo(f"./usr/share/texts/{name}")
            info.size = len(name)
            file.addfile(info, io.BytesIO(name.encode()))
    path = own_cache / "packages" / "texts_1_all.deb"
    path.parent.mkdir(parents=True)
    with path.open("wb") as deb:
        deb.write(b"!<arch>\n")
        for name, content in {"debian-binary": b"2.0\n", "data.tar.xz": buffer.getvalue()}.items():
            deb.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(content):<10}`\n".encode())
            deb.write(content + b"\n" * (len(content) % 2))
    return path


def test_files_of_a_debian_package_are_read_in_order(archive: Path):
    """Nothing of it is installed: the archive in the cache is read."""
    package = DebianPackage("texts", "1", "t/texts", digest(archive))
    files = list(package.read_files("usr/share/texts"))
    assert [(path.as_posix(), content) for path, content in files] == [("a.txt", b"a.txt"), ("b.txt", b"b.txt")]


def test_another_archive_is_refused(archive: Path):
    """A package of other bytes than the known ones is not opened."""
    with pytest.raises(InvalidFileError, match="delete the file"):
        DebianPackage("texts", "1", "t/texts", "0" * 64).fetch()


def test_without_apt_the_message_says_where_the_archive_goes(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Other systems have no apt-get; one that fails is quoted."""
    package = DebianPackage("texts", "1", "t/texts", "0" * 64)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pool/main/t/texts/texts_1_all\.deb at .*packages"):
        package.fetch()
    monkeypatch.setattr(shutil, "which", lambda name: "false")
    with pytest.raises(WriteError, match="failed"):
        package.fetch()
