"""Unpacking zip and tar archives that nobody vouches for: nothing is ever written outside of the folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from coseg.data.archive import Limits, Member, Opened, list_members, open_members, reading
from coseg.errors import CosegError

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
        CosegError: see `coseg.data.archive.open_members`; a member has other bytes than the archive says.
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
