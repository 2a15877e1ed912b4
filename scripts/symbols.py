#!/usr/bin/env python3
"""Writes the kernel's symbol table into the linked kernel, for its backtraces (see src/symbols.rs).

usage: symbols.py KERNEL
"""
import struct
import sys

IMAGE_BASE = 0xFFFF800000000000
IMAGE_END = IMAGE_BASE + (1 << 32)
FUNCTION = 2  # STT_FUNC; what assembly defines has no type (0)
ABSOLUTE = 0xFFF1  # SHN_ABS: a number, not a place


def sections(elf):
    """Name, offset, size and link of each section (ELF64, little endian)."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQI", elf, table + index * size) for index in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length, link in headers:
        end = elf.index(b"\0", strings + name)
        yield elf[strings + name : end].decode(), offset, length, link, headers


def main(kernel):
    with open(kernel, "rb") as file:
        elf = file.read()
    found = {name: (offset, length, link, headers) for name, offset, length, link, headers in sections(elf)}
    offset, length, link, headers = found[".symtab"]
    strings = headers[link][4]
    symbols = {}
    for at in range(offset, offset + length, 24):
        name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
        text = elf[strings + name : elf.index(b"\0", strings + name)]
        if section and IMAGE_BASE <= value < IMAGE_END and text and not text.startswith((b"$", b".L", b"__")):
            if info & 0xF in (0, FUNCTION):
                symbols[value - IMAGE_BASE] = text
    names, entries = b"", b""
    start = 4 + 8 * len(symbols)
    for place, text in sorted(symbols.items()):
        entries += struct.pack("<II", place, start + len(names))
        names += text + b"\0"
    table = struct.pack("<I", len(symbols)) + entries + names
    room, room_length, _, _ = found[".ksyms"]
    if len(table) > room_length:
        sys.exit(f"symbols.py: the table takes {len(table)} bytes, there is room for {room_length} (src/symbols.rs)")
    with open(kernel, "r+b") as file:
        file.seek(room)
        file.write(table.ljust(room_length, b"\0"))


if __name__ == "__main__":
    main(*sys.argv[1:])
