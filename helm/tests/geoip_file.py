"""Writes the smallest GeoIP database that a gateway takes: every address is in one country. For tests only."""

_TYPES = {dict: 7, str: 2, list: 11}
_UINT16, _UINT32, _UINT64 = 5, 6, 9


def _encode(value):
    """The data format of MaxMind DB files, version 2: a control byte with type and length, then the bytes.

    A whole number is given with its type, since readers insist on it.
    """
    kind = value[0] if isinstance(value, tuple) else _TYPES[type(value)]
    if isinstance(value, dict):
        body = b"".join(_encode(key) + _encode(item) for key, item in value.items())
        length = len(value)
    elif isinstance(value, list):
        body, length = b"".join(map(_encode, value)), len(value)
    elif isinstance(value, tuple):
        body = value[1].to_bytes(8, "big").lstrip(b"\0")
        length = len(body)
    else:
        body = value.encode()
        length = len(body)
    assert length < 29, "longer ones have a longer control"
    control = bytes([length, kind - 7]) if kind > 7 else bytes([kind << 5 | length])
    return control + body


def database(country="SE", built=1_700_000_000):
    nodes = 1
    # Both sides of the only node lead to the first record; 16 is the length of the separator behind the tree.
    pointer = (nodes + 16).to_bytes(3, "big")
    metadata = {
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, built),
        "database_type": "Test-Country",
        "description": {"en": "all in one country"},
        "ip_version": (_UINT16, 4),
        "languages": ["en"],
        "node_count": (_UINT32, nodes),
        "record_size": (_UINT16, 24),
    }
    return pointer * 2 + bytes(16) + _encode({"country": {"iso_code": country}}) + b"\xab\xcd\xefMaxMind.com" + _encode(metadata)
