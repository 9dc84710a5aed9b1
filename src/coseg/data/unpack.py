"""Unpacking zip and tar archives from untrusted sources: all members are checked before anything is written."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from coseg.data.archive import GIB, Limits, Member, Opened, Type, read_members, reading, refused, shown
from coseg.errors import CosegError

NAME_BYTES, PATH_BYTES = 255, 1024
"""What file systems take: of a name, and (a bound of our own, far above any published archive) of a path."""

_CHUNK = 1 << 16


def unpack(path: Path, folder: Path, limits: Limits | None = None, members: Sequence[Member] | None = None) -> None:
    """Unpack a zip or tar archive into a new folder; everything is checked before the first byte is written.

    Files get the modes that new files have, not those of the archive.

    Args:
        path: the archive.
        folder: a new folder.
        limits: of its size and members.
        members: what `list_members` gave, where it was asked before.

    Raises:
        CosegError: see `open_members`; a member has other bytes than the archive says.
        OSError: the folder can't be written.
    """
    limits = limits or Limits()
    if members is None:
        list_members(path, limits)
    links: list[Member] = []
    folder.mkdir(parents=True)
    with open_members(path, limits) as opened:
        for member, content in opened:
            place = folder / member.name
            if member.type == "folder":
                place.mkdir(parents=True, exist_ok=True)
            elif member.type == "file":
                place.parent.mkdir(parents=True, exist_ok=True)
                _write(path, member, content, place)
            else:
                links.append(member)
    for member in links:  # after all files, so that none is written through a link
        place = folder / member.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if member.type == "symlink":
            place.symlink_to(member.target)
        else:
            os.link(folder / member.target, place)


def _write(path: Path, member: Member, content: Opened, place: Path) -> None:
    written = 0
    with reading(path):
        source = content()
    with source, place.open("xb") as file:
        while True:
            with reading(path):
                chunk = source.read(_CHUNK)
            if not chunk:
                break
            written += len(chunk)
            if written > member.size:
                break
            file.write(chunk)
    if written != member.size:
        raise CosegError(
            f"{path} cannot be unpacked: {member.name!r} has other bytes than the {member.size:,} that it says. "
            "Download it again."
        )


def list_members(path: Path, limits: Limits) -> list[Member]:
    """All members, checked.

    Raises:
        CosegError: see `open_members`.
    """
    with open_members(path, limits) as members:
        return [member for member, _ in members]


@contextmanager
def open_members(path: Path, limits: Limits) -> Iterator[Iterator[tuple[Member, Opened]]]:
    """The checked members of an archive in their order, each with what opens it before the next is read.

    Raises:
        CosegError: as `coseg.data.archive.read_members`; there are too many members or bytes, a name leads outside of
            the folder, can't be written or occurs twice, or a link leads outside.
    """
    with read_members(path, limits) as members:
        yield _checked(path, members, limits)


def _checked(path: Path, members: Iterator[tuple[Member, Opened]], limits: Limits) -> Iterator[tuple[Member, Opened]]:
    seen: dict[str, Type] = {}
    count = size = 0
    while True:
        with reading(path):
            item = next(members, None)
        if item is None:
            break
        member, opened = item
        count, size = count + 1, size + max(member.size, 0)
        if count > limits.members or size > limits.unpacked or member.size < 0:
            raise CosegError(
                f"{path} holds more than {limits.members:,} members or {limits.unpacked / GIB:.3g} GiB, or says so: "
                "nothing was unpacked. It is not the published archive."
            )
        member = _check_name(path, member)
        if member.name:  # the folder itself has none
            _check_twice(path, member, seen)
            yield member, opened


def _check_name(path: Path, member: Member) -> Member:
    """The member with its name in its shortest form."""
    name = member.name
    if _leaves(name):
        raise refused(path, name, "which would lie outside of the data set's folder")
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name + member.target):
        raise refused(path, name, "whose name has characters that no name should have")
    encoded = [len(part.encode()) for part in parts]
    if max(encoded, default=0) > NAME_BYTES or sum(encoded) + len(encoded) > PATH_BYTES:
        raise refused(path, name, "whose name is too long")
    if not parts and member.type != "folder":
        raise refused(path, name, "which has no name")
    target = member.target
    if member.type in ("symlink", "hardlink") and (_leaves(target) or not target):
        raise refused(path, name, f"a link to {shown(target)}, which could lead outside of the folder")
    return member._replace(name="/".join(parts))


def _check_twice(path: Path, member: Member, seen: dict[str, Type]) -> None:
    """Names differ on every file system, and nothing lies below what is no folder, a link for example."""
    key = unicodedata.normalize("NFC", member.name).casefold()
    earlier = seen.get(key)
    if earlier is not None and not (earlier == member.type == "folder"):
        raise refused(path, member.name, "whose name another member has, in upper or lower case")
    seen[key] = member.type
    above = key
    while "/" in above:
        above = above.rpartition("/")[0]
        if seen.setdefault(above, "folder") != "folder":
            raise refused(path, member.name, "which lies below a member that is no folder")
    if member.type == "hardlink":
        target = unicodedata.normalize("NFC", str(PurePosixPath(member.target))).casefold()
        if seen.get(target) != "file":
            raise refused(path, member.name, f"a link to {shown(member.target)}, which is no file before it")


def _leaves(name: str) -> bool:
    """Whether a path is absolute or goes up; where none does, no chain of links leads outside either."""
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or bool(parts.parts and parts.parts[0].endswith(":"))
