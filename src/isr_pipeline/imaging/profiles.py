"""ICC profiles that go with samples (ICC.1:2022)."""

import struct

_XYZ = {  # sRGB's primaries as seen from the profiles' white, D50, in parts of 65536
    b"rXYZ": (0x6FA2, 0x38F5, 0x0390),
    b"gXYZ": (0x6299, 0xB785, 0x18DA),
    b"bXYZ": (0x24A0, 0x0F84, 0xB6CF),
}
_KEPT = (b"desc", b"cprt", b"wtpt", b"bkpt", b"chad", b"dmnd", b"dmdd")


def fits(icc: bytes, channels: int) -> bool:
    """Whether a profile's colour space is that of samples with so many channels."""
    return icc[16:20] == (b"GRAY" if channels < 3 else b"RGB ")


def fitting(icc: bytes, channels: int) -> bytes | None:
    """A profile under which samples mean what they did when they had the profile's channels.

    Grey samples that became three equal ones keep their tone curve; None where that has no way.
    """
    if fits(icc, channels):
        return icc
    return _rgb_of_grey(icc) if fits(icc, 1) else None


def _rgb_of_grey(icc: bytes) -> bytes | None:
    """An RGB profile with a grey one's tone curve in each channel."""
    try:
        (count,) = struct.unpack_from(">L", icc, 128)
        table = [struct.unpack_from(">4sLL", icc, 132 + 12 * number) for number in range(count)]
    except struct.error:
        return None
    tags = {name: icc[offset : offset + length] for name, offset, length in table}
    curve = tags.get(b"kTRC")
    if curve is None or icc[20:24] != b"XYZ " or b"A2B0" in tags:  # no plain curve of light
        return None
    new = {name: data for name, data in tags.items() if name in _KEPT}
    new |= {name: struct.pack(">4s4x3L", b"XYZ ", *xyz) for name, xyz in _XYZ.items()}
    new |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    entries, values = b"", b""
    begin = 132 + 12 * len(new)
    for name, data in new.items():
        entries += struct.pack(">4sLL", name, begin + len(values), len(data))
        values += data + bytes(-len(data) % 4)
    header = icc[4:16] + b"RGB " + icc[20:84] + bytes(44)  # without the former's checksum
    return (
        struct.pack(">L", begin + len(values))
        + header
        + struct.pack(">L", len(new))
        + (entries + values)
    )
