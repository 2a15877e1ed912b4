#!/usr/bin/env python3
"""Writes a cpio archive in newc form from one or more trees.

A later tree adds to an earlier one and replaces what has the same path. The archive depends on the contents alone: entries are
sorted, times are zero, and whoever builds it owns nothing in it (root does), so two builds of one tree are equal.

    mkcpio.py --output FILE [--tree DIR]... [--file GUEST=HOST[:MODE]]... [--link GUEST=TARGET]... [--text GUEST=TEXT]...
              [--directory GUEST=MODE]... [--node GUEST=c,MAJOR,MINOR,MODE]...
"""

import argparse
import os
import stat
import sys


class Entry:
    """One member of the archive: type and permissions, owner, contents (a link's target for a link), device number."""

    def __init__(self, mode, data=b"", device=(0, 0), owner=(0, 0)):
        self.mode = mode
        self.data = data
        self.device = device
        self.owner = owner


def from_host(path):
    """The entry for a file, directory, link or device node of the host."""
    info = os.lstat(path)
    builder = (os.geteuid(), os.getegid())
    owner = (
        0 if info.st_uid == builder[0] else info.st_uid,
        0 if info.st_gid == builder[1] else info.st_gid,
    )
    if stat.S_ISLNK(info.st_mode):
        return Entry(stat.S_IFLNK | 0o777, os.readlink(path).encode(), owner=owner)
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            return Entry(info.st_mode, file.read(), owner=owner)
    if stat.S_ISDIR(info.st_mode):
        return Entry(info.st_mode, owner=owner)
    if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        device = (os.major(info.st_rdev), os.minor(info.st_rdev))
        return Entry(info.st_mode, device=device, owner=owner)
    raise SystemExit(f"mkcpio: {path}: neither file, directory, link nor device")


def resolve(entries, name):
    """`name` with the links in its folders followed, so that an overlay's bin/x lands in usr/bin of a merged tree."""
    done = ""
    for part in os.path.dirname(name).split("/"):
        done = os.path.join(done, part) if done else part
        entry = entries.get(done)
        if entry is not None and stat.S_ISLNK(entry.mode):
            target = os.path.join("/", os.path.dirname(done), entry.data.decode())
            done = os.path.normpath(target).lstrip("/")
    return os.path.join(done, os.path.basename(name)) if done else os.path.basename(name)


def add(entries, name, entry):
    """Puts `entry` at `name`, with the folders above it where they are missing."""
    name = resolve(entries, name.strip("/"))
    parent = os.path.dirname(name)
    while parent and parent not in entries:
        entries[parent] = Entry(stat.S_IFDIR | 0o755)
        parent = os.path.dirname(parent)
    old = entries.get(name)
    if old is not None and stat.S_ISDIR(entry.mode) and stat.S_ISLNK(old.mode):
        return
    entries[name] = entry


def add_tree(entries, root):
    """Adds all that is below the folder `root`."""
    for folder, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            add(entries, os.path.relpath(path, root), from_host(path))


def write(entries, output):
    """Writes the archive, folders before what they hold."""
    with open(output, "wb") as file:
        position = 0
        for number, (name, entry) in enumerate(sorted(entries.items()), start=1):
            links = 2 if stat.S_ISDIR(entry.mode) else 1
            position += member(file, name, number, entry, links)
        position += member(file, "TRAILER!!!", 0, Entry(0), 1)
        file.write(b"\0" * (-position % 512))


def member(file, name, inode, entry, links):
    """Writes one member and returns its length in bytes, padding included."""
    raw = name.encode() + b"\0"
    fields = (inode, entry.mode, *entry.owner, links, 0, len(entry.data), 0, 0, *entry.device, len(raw), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    blob = header + b"\0" * (-len(header) % 4) + entry.data + b"\0" * (-len(entry.data) % 4)
    file.write(blob)
    return len(blob)


def pair(text):
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r}: expected GUEST=VALUE")
    return name, value


def main():
    parser = argparse.ArgumentParser(description="Write a newc cpio archive.")
    parser.add_argument("--output", required=True)
    parser.add_argument("--tree", action="append", default=[], metavar="DIR")
    for option in ("--directory", "--file", "--link", "--text", "--node"):
        parser.add_argument(option, action="append", default=[], type=pair, metavar="GUEST=...")
    options = parser.parse_args()

    entries = {}
    for root in options.tree:
        add_tree(entries, root)
    for name, mode in options.directory:
        add(entries, name, Entry(stat.S_IFDIR | int(mode, 8)))
    for name, target in options.link:
        if resolve(entries, name.strip("/")) not in entries:
            add(entries, name, Entry(stat.S_IFLNK | 0o777, target.encode()))
    for name, value in options.file:
        host, separator, mode = value.rpartition(":")
        host, mode = (host, mode) if separator else (value, "755")
        entry = from_host(host)
        entry.mode = stat.S_IFREG | int(mode, 8)
        add(entries, name, entry)
    for name, text in options.text:
        add(entries, name, Entry(stat.S_IFREG | 0o644, text.encode()))
    for name, value in options.node:
        kind, major, minor, mode = value.split(",")
        type_bits = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}[kind]
        add(entries, name, Entry(type_bits | int(mode, 8), device=(int(major), int(minor))))
    temporary = f"{options.output}.new"
    write(entries, temporary)
    os.replace(temporary, options.output)


if __name__ == "__main__":
    sys.exit(main())
