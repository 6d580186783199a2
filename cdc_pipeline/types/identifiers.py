"""uuid, timeuuid, LexicalUUIDType and inet."""

from __future__ import annotations

from struct import Struct

from cdc_pipeline.types.registry import Printer, register
from cdc_pipeline.types.wire import wrong_length

_GROUPS = Struct(">8H")
_MAPPED_IPV4 = bytes(10) + b"\xff\xff"


def uuid_json(value: bytes) -> str:
    """16 bytes as lower-case hex with hyphens."""
    if len(value) != 16:
        raise wrong_length("uuid", 16, value)
    digits = value.hex()
    return f'"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"'


def inet_text(value: bytes) -> str:
    """4 bytes dotted, 16 as eight hex groups without `::`, an IPv4-mapped address as IPv4 (`InetAddress`)."""
    if len(value) == 16:
        if not value.startswith(_MAPPED_IPV4):
            return ":".join([f"{group:x}" for group in _GROUPS.unpack(value)])
        value = value[12:]
    if len(value) != 4:
        raise wrong_length("inet", "4 or 16", value)
    return ".".join(map(str, value))


def inet_json(value: bytes) -> str:
    """An address as a string."""
    return f'"{inet_text(value)}"'


register("uuid", "timeuuid", "LexicalUUIDType", cassandra=Printer(uuid_json))
register("inet", cassandra=Printer(inet_json))
