"""One picture of each kind that a folder may hold: what is read has the right pixels, the rest a reason."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from ncsn_pipeline.data.decoding import BadImageError, SkippedImages, decode, name_of

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def decoded(content, **options):
    return decode({"bytes": content, "path": None}, **options)


def png(width, height, bits=8, color=0, scanlines=b""):
    """A PNG by hand, for what Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    ends = chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


def frames(kind):
    pictures = [Image.new("RGB", (6, 4), color) for color in (RED, BLUE)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], **lossless)


def with_palette():
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([0, 0, 0, *RED])
    return picture


def lab():
    change = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return ImageCms.applyTransform(Image.new("RGB", (6, 4), RED), change)


def sixteen(value, order="<"):
    return Image.fromarray(np.full((4, 6), value, dtype=f"{order}u2"))


GOOD = {
    "grey": (encoded(Image.new("L", (6, 4), 77), "PNG"), [77]),
    "one bit": (encoded(Image.new("1", (6, 4), 1), "PNG"), [255]),
    "colour": (encoded(Image.new("RGB", (6, 4), RED), "BMP"), RED),
    "cmyk": (encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "TIFF"), RED),
    "cmyk jpeg": (encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG", quality=100), RED),
    "lab": (encoded(lab(), "TIFF"), RED),
    "palette": (encoded(with_palette(), "PNG"), RED),
    "palette, transparent": (encoded(with_palette(), "PNG", transparency=1), (255, 255, 255)),
    "transparent": (encoded(Image.new("RGBA", (6, 4), (*RED, 0)), "PNG"), (255, 255, 255)),
    "half transparent": (encoded(Image.new("RGBA", (6, 4), (*RED, 128)), "PNG"), (255, 127, 127)),
    "grey, half transparent": (encoded(Image.new("LA", (6, 4), (0, 128)), "PNG"), [127]),
    "16 bits": (encoded(sixteen(32768), "PNG"), [128]),
    "16 bits, upper eight": (encoded(sixteen(2 * 256 + 255), "PNG"), [2]),
    "32 bits within 16": (encoded(Image.fromarray(np.full((4, 6), 65535, dtype=np.int32)), "TIFF"), [255]),
    "16 bits, tiff": (encoded(sixteen(65535), "TIFF"), [255]),
    "16 bits, big-endian": (encoded(sixteen(32768, ">"), "TIFF"), [128]),
    "16 bits, portable": (b"P5\n6 4\n65535\n" + struct.pack(">H", 32768) * 24, [128]),
    "16 bits, colour": (png(6, 4, 16, 2, (b"\0" + struct.pack(">HHH", 65535, 0, 32768) * 6) * 4), (255, 0, 128)),
    "animated gif": (frames("GIF"), RED),
    "animated png": (frames("PNG"), RED),
    "animated webp": (frames("WEBP"), RED),
    "broken exif": (encoded(Image.new("RGB", (6, 4), RED), "JPEG", exif=b"Exif\0\0nonsense", quality=100), RED),
}


@pytest.mark.parametrize("kind", GOOD)
def test_the_pixels_are_right(kind):
    content, color = GOOD[kind]
    pixels = decoded(content)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    assert pixels.shape == (len(color), 4, 6)
    rounding = {"lab": 6, "cmyk jpeg": 2, "broken exif": 2}.get(kind, 0)  # what their formats round
    assert np.abs(pixels.astype(int) - np.reshape(color, (-1, 1, 1))).max() <= rounding
    assert decoded(content, channels=3).shape == (3, 4, 6)
    grey = decoded(content, channels=1)
    assert grey.shape == (1, 4, 6)
    luma = np.dot(color, (0.299, 0.587, 0.114)) if len(color) == 3 else color[0]
    assert np.abs(grey.astype(int) - luma).max() <= max(rounding, 1)
    assert decoded(content, resolution=3).shape == (len(color), 3, 3)


BAD = {
    "nothing": (b"", "is empty"),
    "text": (b"just some text\n" * 9, "not an image"),
    "web page": (b"<!doctype html><html>404</html>", "not an image"),
    "torn jpeg": (encoded(Image.new("RGB", (99, 99), RED), "JPEG")[:700], "truncated"),
    "torn png": (encoded(Image.effect_noise((64, 64), 50), "PNG")[:900], "truncated"),
    "torn gif": (encoded(Image.effect_noise((64, 64), 50).convert("P"), "GIF")[:2000], "truncated"),
    "header alone": (b"\x89PNG\r\n\x1a\n", "not an image"),
    "wrong check sum": (png(6, 4, scanlines=b"\0" * 28).replace(b"IDAT", b"IDAT\x01", 1), "cannot be decoded"),
    "bomb": (png(60_000, 60_000), "pixels.*decompression bomb"),
    "floats": (encoded(Image.new("F", (6, 4), 0.5), "TIFF"), "floating-point"),
    "32 bits": (encoded(Image.fromarray(np.full((4, 6), 1 << 20, dtype=np.int32)), "TIFF"), "32-bit"),
    "negative": (encoded(Image.fromarray(np.full((4, 6), -1, dtype=np.int32)), "TIFF"), "32-bit"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_pictures_are_refused_with_a_reason(kind, tmp_path):
    content, reason = BAD[kind]
    with pytest.raises(BadImageError, match=reason):
        decoded(content)
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(BadImageError, match=reason):
        decode({"bytes": None, "path": str(path)}, resolution=8, channels=3)


def test_missing_pictures_are_refused_with_a_reason(tmp_path):
    for record in (None, {"bytes": None, "path": None}):
        with pytest.raises(BadImageError, match="is missing"):
            decode(record)
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(BadImageError, match="does not exist"):
            decode({"bytes": None, "path": str(path)})


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(kind, orientation):
    upright = np.zeros((4, 6), dtype=np.uint8)
    upright[:2, :3] = 255  # one corner tells all eight apart, with the sides
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
             7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    picture = Image.fromarray(upright).resize((48, 32), Image.Resampling.NEAREST)
    expected = np.asarray(picture).astype(int)
    if orientation in turns:
        picture = picture.transpose(Image.Transpose[turns[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decoded(encoded(picture, kind, exif=exif), channels=1)[0]
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 3


def test_a_large_jpeg_is_reduced_to_what_a_plain_resize_gives():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    picture = coarse.resize((1600, 1200), Image.Resampling.BICUBIC)
    content = encoded(picture, "JPEG", quality=95)
    plain = ImageOps.fit(Image.open(io.BytesIO(content)), (100, 100), Image.Resampling.LANCZOS)
    difference = decoded(content, resolution=100).transpose(1, 2, 0).astype(int) - np.asarray(plain)
    assert np.abs(difference).mean() < 1


@pytest.mark.parametrize("turned", [False, True], ids=["wide", "tall"])
def test_the_longer_side_is_cropped_at_the_centre(turned):
    """Of three stripes, 6, 8 and 6 pixels wide, the middle one is left; of two halves, the edge in the middle."""
    stripes = np.repeat(np.array([0, 100, 255], dtype=np.uint8), [6, 8, 6])[None].repeat(8, axis=0)
    halves = np.repeat(np.array([0, 200], dtype=np.uint8), 10)[None].repeat(8, axis=0)
    for pixels, expected in ((stripes, [100] * 8), (halves, [0] * 4 + [200] * 4)):
        content = encoded(Image.fromarray(pixels.T.copy() if turned else pixels), "PNG")
        found = decoded(content, resolution=8)[0]
        assert (found.T if turned else found).tolist() == [expected] * 8


WHOLE = [
    encoded(Image.effect_noise((24, 16), 60), "PNG"),
    encoded(Image.effect_noise((24, 16), 60), "JPEG"),
    encoded(Image.effect_noise((24, 16), 60), "WEBP"),
    encoded(Image.effect_noise((24, 16), 60), "TIFF", compression="tiff_lzw"),
    encoded(Image.effect_noise((24, 16), 60).convert("P"), "GIF"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, on damaged metadata
@settings(max_examples=200, deadline=None, derandomize=True)
@given(content=st.sampled_from(WHOLE), data=st.data())
def test_damage_of_any_kind_gives_pixels_or_a_reason(content, data):
    """Torn at any byte, or with bytes changed anywhere."""
    place = st.integers(0, len(content) - 1)
    damaged = bytearray(content)
    for at in data.draw(st.lists(place, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(place)]
    try:
        pixels = decoded(bytes(damaged), resolution=8, channels=1)
    except BadImageError as error:
        assert str(error)
    else:
        assert pixels.shape == (1, 8, 8)


def test_names_are_short_and_the_count_is_right(caplog, tmp_path):
    assert name_of({"bytes": None, "path": str(tmp_path / "cat" / "1.png")}, 3, str(tmp_path)) == "cat/1.png"
    assert name_of({"bytes": b"x", "path": "1.png"}, 3, str(tmp_path)) == "1.png"
    assert name_of({"bytes": b"x", "path": None}, 3) == name_of(None, 3) == "number 3"
    skipped = SkippedImages("somewhere")
    skipped.seen = 14
    for i in range(7):
        skipped.add(f"{i}.png", "is empty")
    skipped.check()
    with caplog.at_level(logging.WARNING):
        skipped.warn()
    assert caplog.messages == [
        "Skipped 7 of 14 images of 'somewhere': 0.png is empty; 1.png is empty; 2.png is empty; 3.png is empty; "
        "4.png is empty; and 2 more."
    ]
    skipped.seen = 13
    with pytest.raises(ValueError, match="7 of 13 images of 'somewhere' cannot be used: 0.png is empty"):
        skipped.check()


def test_a_long_reading_warns_after_1_10_and_100_bad_pictures(caplog):
    skipped = SkippedImages("somewhere")
    for i in range(150):
        skipped.seen += 2
        skipped.add(f"{i}.png", "is empty")
        skipped.warn_at_first()
    assert [message.split(" of ")[0] for message in caplog.messages] == ["Skipped 1", "Skipped 10", "Skipped 100"]
    skipped.warn()
    skipped.warn()
    assert [message.split(" of ")[0] for message in caplog.messages[3:]] == ["Skipped 150"]
