"""A PDF of one page with lines of text: the least that every reader opens (ISO 32000-1, 7.5 "File structure")."""

from collections.abc import Sequence
from typing import Final

_PAGE: Final = (
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
)
_FONT: Final = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
_ESCAPED: Final = str.maketrans({"\\": r"\\", "(": r"\(", ")": r"\)", "\r": " ", "\n": " "})
_LEFT: Final = 56
_TOP: Final = 780
_LEADING: Final = 18


def page(lines: Sequence[str]) -> bytes:
    """The first line is large. What Windows-1252 does not have is shown as a question mark."""
    content = _content(lines)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        _PAGE.encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        _FONT.encode(),
    ]
    body, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(body))
    return bytes(body) + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (len(objects) + 1, table, trailer)


def _content(lines: Sequence[str]) -> bytes:
    shown = [f"BT /F 18 Tf {_LEFT} {_TOP} Td {_LEADING} TL"]
    for place, line in enumerate(lines):
        shown.append(f"({line.translate(_ESCAPED)}) Tj T*" + (" /F 11 Tf" if place == 0 else ""))
    return "\n".join([*shown, "ET"]).encode("cp1252", "replace")
