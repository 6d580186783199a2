from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jks
import pytest

from cdc_pipeline.decode import KeyProvider
from cdc_pipeline.decode.encryption import _secret_keys
from cdc_pipeline.errors import ConfigurationError, HeaderError, SectionError
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import damage, insert, read, values
from cdc_pipeline_tests.recordings import Recording

KEY, IV = bytes(range(16)), bytes(range(100, 116))
KEYS = KeyProvider(default=KEY)
ONE, TWO, THREE = (en.entry(insert(value)) for value in (b"one", b"two", b"three"))


def segment_of(*sections: bytes, chunk: int = 65536, **parameters: Any) -> bytes:
    """An encrypted segment."""
    return en.segment(
        sections,
        parameters={**en.encryption_parameters(IV), **parameters},
        body=en.encrypted(KEY, IV, chunk),
        tail=b"",
    )


@pytest.mark.parametrize("chunk", [1, 7, 64, 65536])
def test_sections(tmp_path: Path, chunk: int) -> None:
    """Entries span chunks, each of which begins with the same IV; an empty section has none."""
    batches = read(en.write(tmp_path, segment_of(ONE + TWO, b"", THREE, chunk=chunk)), keys=KEYS)
    assert values(batches) == ["one", "two", "three"]
    assert damage(batches) == []


def test_encryption_wins_over_compression(tmp_path: Path) -> None:
    """A header with both is encrypted."""
    data = segment_of(ONE, compressionClass="ZstdCompressor")
    assert values(read(en.write(tmp_path, data), keys=KEYS)) == ["one"]


def test_alias_in_any_case(tmp_path: Path) -> None:
    """JCEKS keeps aliases in lower case."""
    data = segment_of(ONE, encKeyAlias="Testing:1")
    assert values(read(en.write(tmp_path, data), keys=KeyProvider({"testing:1": KEY}))) == ["one"]


@pytest.mark.parametrize("keys", [None, KeyProvider(), KeyProvider({"another": KEY})])
def test_missing_key(tmp_path: Path, keys: KeyProvider | None) -> None:
    """Without its key a segment is refused before anything is read; the message names file and alias."""
    path = en.write(tmp_path, segment_of(ONE))
    with pytest.raises(ConfigurationError, match=f"{path.name}: expected a key with alias testing:1"):
        read(path, keys=keys)


def test_wrong_key(tmp_path: Path) -> None:
    """Under another key every section is reported and nothing is delivered."""
    batches = read(en.write(tmp_path, segment_of(ONE, TWO)), keys=KeyProvider(default=bytes(16)))
    assert values(batches) == []
    assert [type(one.error) for one in damage(batches)] == [SectionError] * 2
    assert all("right key?" in str(one.error) for one in damage(batches))


def test_damaged_chunk_loses_its_section_only(tmp_path: Path) -> None:
    """Whatever byte of a section's body is changed, the others are read."""
    good = segment_of(ONE, TWO, THREE)
    body = en.encrypted(KEY, IV)(TWO)
    at = good.index(body)
    for offset in range(len(body)):
        bad = good[: at + offset] + bytes([good[at + offset] ^ 0x55]) + good[at + offset + 1 :]
        batches = read(en.write(tmp_path, bad), keys=KEYS)
        found = values(batches)
        assert found in (["one", "three"], ["one", "two", "three"])
        assert len(found) == 3 or damage(batches)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0",
        en.number(0, 4) + b"\0" * 7,
        en.number(5, 4),
        en.number(2**31 - 1, 4) + en.number(2**31 - 1, 4) + en.number(2**31 - 1, 4) + b"x" * 16,
        en.number(2**31 - 1, 4) + en.encrypted_chunk(en.number(2**31 - 1, 4) + b"\xff\xff\xff\x7f" + b"x", KEY, IV),
        en.number(5, 4) + en.encrypted_chunk(b"", KEY, IV),
        en.number(5, 4) + en.encrypted_chunk(b"\0\0\0\5\5", KEY, IV),
    ],
)
def test_malformed_bodies(tmp_path: Path, body: bytes) -> None:
    """Lengths that are too short, too long or 2 GiB are one damaged section each."""
    data = en.segment([body], parameters=en.encryption_parameters(IV), tail=b"")
    (found,) = damage(read(en.write(tmp_path, data), keys=KEYS))
    assert isinstance(found.error, SectionError)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encCipher": "AES/GCM/NoPadding"}, "encCipher expected AES/CBC/PKCS5Padding, found AES/GCM/NoPadding"),
        ({"encIV": "zz"}, "encIV expected 16 bytes, found 0 bytes"),
        ({"encIV": "0011"}, "encIV expected 16 bytes, found 2 bytes"),
    ],
)
def test_unusable_parameters(tmp_path: Path, parameters: dict[str, Any], message: str) -> None:
    """A cipher or IV that this reader cannot use is an error of the header."""
    with pytest.raises(HeaderError, match=message):
        read(en.write(tmp_path, segment_of(ONE, **parameters)), keys=KEYS)


def test_no_iv(tmp_path: Path) -> None:
    """A header without its IV."""
    data = en.segment([ONE], parameters={"encCipher": "AES/CBC/PKCS5Padding", "encKeyAlias": "a"})
    with pytest.raises(HeaderError, match="encIV"):
        read(en.write(tmp_path, data), keys=KEYS)


def test_keys_are_not_shown() -> None:
    """A key provider does not print its keys."""
    assert KEY.hex() not in repr(KeyProvider({"a": KEY}, KEY))
    assert repr(KEY) not in repr(KeyProvider({"a": KEY}, KEY))


# --- key files -------------------------------------------------------------------------------------------------------


def test_hex_file(tmp_path: Path) -> None:
    """A key as hex digits serves every alias."""
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    assert KeyProvider.from_hex_file(path).key("whatever") == KEY


def test_missing_hex_file(tmp_path: Path) -> None:
    """A key file that is not there."""
    with pytest.raises(ConfigurationError, match="key: expected a key file, found No such file"):
        KeyProvider.from_hex_file(tmp_path / "key")


@pytest.mark.parametrize("text", ["not hex", "0011", "", "00" * 33, "é"])
def test_hex_file_with_something_else(tmp_path: Path, text: str) -> None:
    """A file without a key names itself, and never what it holds."""
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="key: expected") as caught:
        KeyProvider.from_hex_file(path)
    assert not text or text not in str(caught.value).replace(str(path), "")


def test_hex_file_of_other_bytes(tmp_path: Path) -> None:
    """A binary file is not one of hex digits."""
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="expected hex digits"):
        KeyProvider.from_hex_file(path)


@pytest.fixture(scope="module")
def keystore(open_recording: Callable[[str], Recording]) -> Recording:
    """A recording with a keystore."""
    return open_recording("shop-encrypted-5.0")


def test_keystore(keystore: Recording) -> None:
    """A JCEKS keystore gives its keys by alias; store and key have one password unless told."""
    assert keystore.keystore is not None
    keys = KeyProvider.from_keystore(keystore.path / "keystore.jceks", keystore.keystore["store password"])
    key = keys.key(keystore.keystore["key alias"].upper())
    assert key is not None
    assert key.hex() == keystore.keystore["AES key (hex)"]
    assert keys.key("another") is None


def test_without_the_extra(keystore: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no reader of Java keystores is installed the message names the extra."""
    monkeypatch.setitem(sys.modules, "jks", None)
    with pytest.raises(ConfigurationError, match=r"cdc-pipeline\[encryption\]"):
        KeyProvider.from_keystore(keystore.path / "keystore.jceks", "recording")


@pytest.mark.parametrize(
    ("store", "kind", "message"),
    [
        ("wrong", "JCEKS", "expected another keystore password"),
        ("recording", "JKS", "expected a JKS keystore, found JCEKS"),
    ],
)
def test_keystore_with_wrong_facts(keystore: Recording, store: str, kind: str, message: str) -> None:
    """A wrong password or type is told apart, with the file's name."""
    with pytest.raises(ConfigurationError, match=f"keystore.jceks: {message}"):
        KeyProvider.from_keystore(keystore.path / "keystore.jceks", store, store_type=kind)


def test_key_with_a_password_of_its_own(keystore: Recording) -> None:
    """A key that its password does not open names itself."""
    path = keystore.path / "keystore.jceks"
    store = jks.KeyStore.loads(path.read_bytes(), "recording", try_decrypt_keys=False)
    with pytest.raises(ConfigurationError, match=r"keystore\.jceks: expected another password for key testing:1"):
        _secret_keys(store.secret_keys, "wrong", path)


@pytest.mark.parametrize("size", [0, 3, 4, 12, 40, 200, 503])
def test_keystore_that_is_none(tmp_path: Path, keystore: Recording, size: int) -> None:
    """A missing, an empty and a truncated file are each a sentence with its name."""
    path = tmp_path / "some.jceks"
    with pytest.raises(ConfigurationError, match=r"some\.jceks: expected a keystore, found No such file"):
        KeyProvider.from_keystore(path, "recording")
    path.write_bytes((keystore.path / "keystore.jceks").read_bytes()[:size])
    with pytest.raises(ConfigurationError, match=r"some\.jceks: expected"):
        KeyProvider.from_keystore(path, "recording")
