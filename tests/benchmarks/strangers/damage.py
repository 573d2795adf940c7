"""What happens to a file on its way: bytes changed, lines lost, ends cut, values that no one means."""

from __future__ import annotations

from random import Random

AWKWARD = (
    *(
        "",
        "0",
        "-1",
        "1e9",
        "9" * 30,
        "nan",
        "inf",
        "-inf",
        "1e308",
        "1e-320",
        "1e400",
        "0x10",
        "4.5",
        "none",
    ),
    *("{", "}", "{}", "{1,2", "é", "\0", "²", "\x1b[31m", "\u2028", "=", ";", "true", "-9223372036854775809"),
    *("2147483648", "4294967296", "65536", "1,5", "1;2", "+-1", " ", "\t", "%s", "{0}", "../x", "=1+1"),
)


def flipped(chance: Random, content: bytes, most: int = 8, head: int | None = None) -> bytes:
    """A few other bytes; with `head` among so many first ones."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, most) if changed else 0):
        changed[chance.randrange(min(len(changed), head or len(changed)))] = chance.choice(
            (0, 1, 127, 128, 255, chance.randrange(256))
        )
    return bytes(changed)


def cut(chance: Random, content: bytes) -> bytes:
    """The beginning of it."""
    return content[: chance.randrange(len(content) + 1)]


def doubled(chance: Random, content: bytes) -> bytes:
    """A part of it twice."""
    start = chance.randrange(len(content) + 1)
    stop = min(len(content), start + chance.randint(1, 200))
    return content[:stop] + content[start:stop] + content[stop:]


def without(chance: Random, content: bytes) -> bytes:
    """A part of it lost."""
    start = chance.randrange(len(content) + 1)
    return content[:start] + content[start + chance.randint(1, 40) :]


def awkward_number(chance: Random, content: bytes) -> bytes:
    """One of its numbers become something else."""
    digits = [i for i, sign in enumerate(content) if chr(sign).isdigit()]
    if not digits:
        return content
    start = stop = chance.choice(digits)
    while stop < len(content) and (chr(content[stop]).isdigit() or content[stop] in b".eE"):
        stop += 1
    return content[:start] + chance.choice(AWKWARD).encode() + content[stop:]


def damaged(chance: Random, content: bytes) -> bytes:
    """One or two kinds of damage."""
    for _ in range(chance.randint(1, 2)):
        content = chance.choice((flipped, cut, doubled, without, awkward_number, awkward_number))(
            chance, content
        )
    return content
