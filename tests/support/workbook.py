"""A workbook as Excel writes it, as far as the tests need one: text, numbers, and times as days since 1900."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_OOXML = "http://schemas.openxmlformats.org"
_MAIN = f"{_OOXML}/spreadsheetml/2006/main"
_DOCUMENT = f"{_OOXML}/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PARTS = {
    "[Content_Types].xml": f"""<Types xmlns="{_OOXML}/package/2006/content-types">
        <Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
        <Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>
        <Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>
        <Override PartName="/xl/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/></Types>""",
    "_rels/.rels": f"""<Relationships xmlns="{_OOXML}/package/2006/relationships">
        <Relationship Id="r1" Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>""",
    "xl/workbook.xml": f"""<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}">
        <sheets><sheet name="Retouren" sheetId="1" r:id="r1"/></sheets></workbook>""",
    "xl/_rels/workbook.xml.rels": f"""<Relationships xmlns="{_OOXML}/package/2006/relationships">
        <Relationship Id="r1" Type="{_DOCUMENT}/worksheet" Target="sheet1.xml"/>
        <Relationship Id="r2" Type="{_DOCUMENT}/styles" Target="styles.xml"/></Relationships>""",
    "xl/styles.xml": f"""<styleSheet xmlns="{_MAIN}"><cellXfs count="2"><xf numFmtId="0"/>
        <xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>""",
}


def write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write one sheet; a cell that begins with `=` is a number and with `@` a time, digit for digit as in the file."""
    body = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
    with zipfile.ZipFile(path, "w") as packed:
        for name, part in _PARTS.items():
            packed.writestr(name, _HEAD + part)
        packed.writestr("xl/sheet1.xml", f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>')


def _cell(text: str) -> str:
    if text.startswith(("=", "@")):
        return f'<c s="{"=@".index(text[0])}"><v>{text[1:]}</v></c>'
    return f'<c t="inlineStr"><is><t>{escape(text)}</t></is></c>' if text else "<c/>"
