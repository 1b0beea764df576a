"""Draws the glyphs of src/image/pictures/glyphs.ts. Offline: run only to change the font, its sizes or its characters.

    python3 scripts/make-glyphs.py FOLDER

FOLDER holds Roboto-Regular.ttf and Roboto-Medium.ttf 2.138 (Apache License 2.0; Debian's fonts-roboto-unhinted,
release 2:0~20170802-3, has them). Needs Pillow with FreeType.

Layout of the bytes, which are then deflated and written as base64; integers are little-endian:
    per face: size u8, ascent u8, descent u8, number of glyphs u16, then per glyph
    code point u16, advance u8, left i8, top i8 (rows above the baseline), width u8, height u8,
    ceil(width * height / 2) bytes of coverage, two pixels a byte, 0 to 15, the first in the high half.
"""

import base64
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FACES = [("Roboto-Regular.ttf", 12), ("Roboto-Medium.ttf", 13), ("Roboto-Medium.ttf", 17)]

CHARACTERS = sorted(
    {chr(c) for c in range(0x20, 0x7F)}
    | {chr(c) for c in range(0xA0, 0x180)}
    | set("ȘșȚțΔΣαβγδεθλμπστφω–—‘’‚“”„•…‹›€−≈≠≤≥∞√")
)


def face(path: Path, size: int) -> bytes:
    font = ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    missing = font.getmask("\uffff").getbbox(), bytes(font.getmask("\uffff"))
    ascent, descent = font.getmetrics()
    glyphs = []
    for character in CHARACTERS:
        mask = font.getmask(character)
        if (mask.getbbox(), bytes(mask)) == missing and character not in "\u00a0 ":
            print(f"{path.name} has no {character!r}")
            continue
        side = 4 * size
        canvas = Image.new("L", (side, side), 0)
        ImageDraw.Draw(canvas).text((size, 2 * size), character, font=font, fill=255, anchor="ls")
        box = canvas.point(lambda v: 255 if v >= 9 else 0).getbbox() or (size, 2 * size, size, 2 * size)
        left, top, right, bottom = box
        levels = [round(v / 17) for v in canvas.crop(box).tobytes()]
        levels += [0] * (len(levels) % 2)
        packed = bytes(high << 4 | low for high, low in zip(levels[::2], levels[1::2]))
        # Rounded down to 3 pixels, the font's own space would all but vanish at 12.
        advance = round(0.3 * size) if character in " \u00a0" else round(font.getlength(character))
        glyphs.append(
            struct.pack(
                "<HBbbBB", ord(character), advance, left - size, 2 * size - top, right - left, bottom - top
            )
            + packed
        )
    return struct.pack("<BBBH", size, ascent, descent, len(glyphs)) + b"".join(glyphs)


def main() -> None:
    folder = Path(sys.argv[1])
    raw = b"".join(face(folder / name, size) for name, size in FACES)
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = base64.b64encode(squeezed.compress(raw) + squeezed.flush()).decode()
    target = Path(__file__).parent.parent / "src/image/pictures/glyphs.ts"
    target.write_text(
        "/** @file Roboto 2.138 (Copyright 2011 Google Inc., Apache License 2.0) drawn by scripts/make-glyphs.py. */\n\n"
        "/** Deflated, in base64; the script describes the layout. */\n"
        f'export const packedGlyphs =\n  "{text}";\n'
    )
    print(f"{len(CHARACTERS)} characters, {len(raw)} bytes, {len(text)} characters of base64")


main()
