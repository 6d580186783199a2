"""Encrypted segments (format document, 4.2): AES chunks over LZ4, with a key from the node's keystore.

What they alone need is loaded with the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cdc_pipeline.decode.compression import lz4
from cdc_pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class KeyProvider:
    """AES keys by alias (lower case); `default` serves every alias, for a key given as hex."""

    by_alias: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    default: bytes | None = field(default=None, repr=False)

    def key(self, alias: str) -> bytes | None:
        """The key of an alias, or None."""
        return self.by_alias.get(alias.lower(), self.default)

    @classmethod
    def from_hex_file(cls, path: Path) -> KeyProvider:
        """One AES key as hex digits in a file."""
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii", errors="replace").strip())
        except OSError as error:
            raise ConfigurationError(f"expected a key file, found {error.strerror}", where=str(path)) from None
        except ValueError:
            raise ConfigurationError("expected hex digits, found something else", where=str(path)) from None
        if len(key) not in (16, 24, 32):
            raise ConfigurationError(f"expected 16, 24 or 32 bytes of key, found {len(key)}", where=str(path))
        return cls(default=key)

    @classmethod
    def from_keystore(
        cls, path: Path, password: str, key_password: str | None = None, store_type: str = "JCEKS"
    ) -> KeyProvider:
        """All secret keys of a Java keystore (JKS or JCEKS); needs the extra `encryption`."""
        try:
            import jks
        except ImportError:
            raise ConfigurationError(
                "expected the extra cdc-pipeline[encryption], found no reader of Java keystores", where=str(path)
            ) from None
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"expected a keystore, found {error.strerror}", where=str(path)) from None
        try:
            store = jks.KeyStore.loads(data, password)
        except jks.util.KeystoreSignatureException:
            raise ConfigurationError("expected another keystore password", where=str(path)) from None
        except jks.util.KeystoreException as error:
            raise ConfigurationError(f"expected a {store_type} keystore, found {error}", where=str(path)) from None
        except Exception:  # the reader of Java objects inside lets errors of a dozen kinds out of damaged files
            raise ConfigurationError(
                f"expected a {store_type} keystore, found a damaged one", where=str(path)
            ) from None
        if store.store_type != store_type.lower():
            raise ConfigurationError(
                f"expected a {store_type} keystore, found {store.store_type.upper()}", where=str(path)
            )
        return cls(_secret_keys(store.secret_keys, key_password or password, path))


def _secret_keys(entries: Mapping[str, object], password: str, path: Path) -> dict[str, bytes]:
    import jks

    keys = {}
    for alias, entry in entries.items():
        try:
            if not entry.is_decrypted():  # type: ignore[attr-defined]
                entry.decrypt(password)  # type: ignore[attr-defined]
        except jks.util.DecryptionFailureException:
            raise ConfigurationError(f"expected another password for key {alias}", where=str(path)) from None
        keys[alias.lower()] = entry.key  # type: ignore[attr-defined]
    return keys


def decrypt_section(body: bytes, key: bytes, iv: bytes) -> bytes:
    """The plain entries of a section's chunks: cipher length, plain length, cipher text, each from the same IV.

    `ValueError` when a chunk runs past the section or does not decrypt.
    """
    if len(body) < 4:
        raise ValueError(f"an encrypted section of at least 4 bytes expected, found {len(body)}")
    total = int.from_bytes(body[:4], "big")
    pieces = []
    at = 4
    while at < len(body):
        if len(body) - at < 8:
            raise ValueError("an encrypted chunk runs past its section")
        size = int.from_bytes(body[at : at + 4], "big")
        at += 8
        if size > len(body) - at:
            raise ValueError(f"an encrypted chunk of {size} bytes runs past its section")
        pieces.append(_chunk(body[at : at + size], key, iv))
        at += size
    plain = b"".join(pieces)
    if len(plain) != total:
        raise ValueError(f"{total} bytes expected from the encrypted section, found {len(plain)}")
    return plain


def _chunk(cipher_text: bytes, key: bytes, iv: bytes) -> bytes:
    """AES/CBC/PKCS5, then a big-endian length and an LZ4 block."""
    import cramjam
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.padding import PKCS7

    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(128).unpadder()
    try:
        padded = decryptor.update(cipher_text) + decryptor.finalize()
        compressed = unpadder.update(padded) + unpadder.finalize()
        return lz4(compressed[4:], int.from_bytes(compressed[:4], "big"))
    except cramjam.DecompressionError:
        raise ValueError("an encrypted chunk that does not decompress: is this the right key?") from None
    except ValueError as error:
        raise ValueError(f"an encrypted chunk that does not decrypt ({error}): is this the right key?") from None
