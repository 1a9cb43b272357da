"""Makes the servers of Beam's jars listen on loopback, as their addresses say.

Beam creates them with `NettyServerBuilder.forPort(address.getPort())`, on all network
interfaces; whoever reaches one can run programs as its user. No option changes that, so
the call becomes `forAddress(address)` in the one class file that has it.
"""

from __future__ import annotations

import hashlib
import pathlib
import struct
import zipfile

_CLASS = (
    "org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory.class"
)
#: Digest of the class that the numbers below are of, in Beam 2.62.0.
_SHA256 = "c170249f531fa3e414583003b05d5cd7c2c026db7e193d8675d465d096f58f62"
_JAR = "beam-sdks-java-core-*.jar"
_BUILDER = "org/apache/beam/vendor/grpc/v1p60p1/io/grpc/netty/NettyServerBuilder"

#: `invokevirtual InetSocketAddress.getPort; invokestatic NettyServerBuilder.forPort`
_CALL = bytes.fromhex("b600a0 b800a6")
#: Number of the constant that is the class `NettyServerBuilder`.
_BUILDER_CLASS = 162
#: Bytes of a constant behind its tag, but for tag 1, a text; see the Java Virtual
#: Machine Specification, chapter 4.4.
_SIZES = {7: 2, 8: 2, 16: 2, 15: 3, 3: 4, 4: 4, 9: 4, 10: 4, 11: 4, 12: 4, 18: 4}
_SIZES_OF_TWO = {5: 8, 6: 8}


def close_servers(jars: pathlib.Path) -> None:
    """Replaces the class in a directory of jars; raises OSError if it is another."""
    (path,) = jars.glob(_JAR)
    with zipfile.ZipFile(path) as jar:
        content = {name: jar.read(name) for name in jar.namelist()}
    found = hashlib.sha256(content.get(_CLASS, b"")).hexdigest()
    if found != _SHA256:
        raise OSError(
            f"{path.name}: expected {_CLASS} of SHA-256 {_SHA256}, got {found}: its "
            "servers would listen on all network interfaces"
        )
    content[_CLASS] = _call_for_address(content[_CLASS])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as jar:
        for name, data in content.items():
            jar.writestr(name, data)


def _call_for_address(class_file: bytes) -> bytes:
    """Returns the class with the other call."""
    (count,) = struct.unpack_from(">H", class_file, 8)
    end = _end_of_constants(class_file, count)
    name, kind, name_and_kind, method = range(count, count + 4)
    constants = (
        _text("forAddress")
        + _text(f"(Ljava/net/SocketAddress;)L{_BUILDER};")
        + struct.pack(">BHH", 12, name, kind)
        + struct.pack(">BHH", 10, _BUILDER_CLASS, name_and_kind)
    )
    no_operations = bytes(3)
    call = no_operations + struct.pack(">BH", 0xB8, method)
    return (
        class_file[:8]
        + struct.pack(">H", method + 1)
        + class_file[10:end]
        + constants
        + class_file[end:].replace(_CALL, call)
    )


def _text(value: str) -> bytes:
    return struct.pack(">BH", 1, len(value)) + value.encode()


def _end_of_constants(class_file: bytes, count: int) -> int:
    offset, number = 10, 1
    while number < count:
        tag = class_file[offset]
        if tag == 1:
            (length,) = struct.unpack_from(">H", class_file, offset + 1)
            offset += 3 + length
        else:
            offset += 1 + (_SIZES | _SIZES_OF_TWO)[tag]
        number += 2 if tag in _SIZES_OF_TWO else 1
    return offset
