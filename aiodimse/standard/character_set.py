"""The code elements of Specific Character Set (0008,0005), PS3.3 C.12.1.1.2, and the defined terms that name them."""

from __future__ import annotations

from typing import Final, NamedTuple


class CodeElement(NamedTuple):
    """A set of characters that an escape sequence designates (PS3.3 Tables C.12-3 and C.12-4)."""

    number: int
    """The ISO registration number: 87 of "ISO 2022 IR 87"."""
    escape: bytes
    """The escape sequence that designates it."""
    is_g0: bool
    """Whether it is designated as G0, the codes 21 to 7E; the others are G1, the codes A0 to FF."""
    width: int
    """The number of bytes of one character."""
    codec: str
    """The Python codec that contains these characters."""
    prefix: bytes = b""
    """The byte that this codec puts before each of these characters. The codec uses the codes of G1 for all of them."""


ASCII: Final = CodeElement(6, b"\x1b(B", True, 1, "ascii")
"""The default repertoire, which is the G0 of all single-byte character sets except ISO_IR 13."""
ROMAJI: Final = CodeElement(14, b"\x1b(J", True, 1, "ascii")
"""The G0 of ISO_IR 13. Its codes 5C and 7E are Yen Sign and Overline. They are read as the backslash and tilde of the
other character sets, because 5C separates values in every character set (PS3.5 6.4)."""

EXTENSIONS: Final = (
    #           number          escape        G0     width  codec          prefix
    CodeElement(100,            b"\x1b-A",    False, 1,     "latin_1"),
    CodeElement(101,            b"\x1b-B",    False, 1,     "iso8859_2"),
    CodeElement(109,            b"\x1b-C",    False, 1,     "iso8859_3"),
    CodeElement(110,            b"\x1b-D",    False, 1,     "iso8859_4"),
    CodeElement(126,            b"\x1b-F",    False, 1,     "iso8859_7"),
    CodeElement(127,            b"\x1b-G",    False, 1,     "iso8859_6"),
    CodeElement(138,            b"\x1b-H",    False, 1,     "iso8859_8"),
    CodeElement(144,            b"\x1b-L",    False, 1,     "iso8859_5"),
    CodeElement(148,            b"\x1b-M",    False, 1,     "iso8859_9"),
    CodeElement(166,            b"\x1b-T",    False, 1,     "iso8859_11"),
    CodeElement(203,            b"\x1b-b",    False, 1,     "iso8859_15"),
    CodeElement(13,             b"\x1b)I",    False, 1,     "euc_jp",      b"\x8e"),
    CodeElement(87,             b"\x1b$B",    True,  2,     "euc_jp"),
    CodeElement(159,            b"\x1b$(D",   True,  2,     "euc_jp",      b"\x8f"),
    CodeElement(149,            b"\x1b$)C",   False, 2,     "euc_kr"),
    CodeElement(58,             b"\x1b$)A",   False, 2,     "gb2312"),
)  # fmt: skip
"""The code elements that "ISO 2022 IR n" adds to the default repertoire. A single-byte one alone is "ISO_IR n"."""

WITHOUT_EXTENSIONS: Final = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
"""Terms that exclude all others and do not use escape sequences (PS3.3 Table C.12-5), and their Python codecs."""
