"""The demo's folder: the recording, unpacked once, its configuration, and a key that is made once and kept."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform import KeyRing

_DATA = resources.files("cdc_pipeline.cli").joinpath("demo_data")
_RECORDING = "shop-5.0.tar.xz"


@dataclass(frozen=True)
class DemoFolder:
    """Paths of a demo; `made` when all of it is there."""

    root: Path

    @property
    def config(self) -> Path:
        """Its cdc.yaml."""
        return self.root / "cdc.yaml"

    @property
    def dagster_home(self) -> Path:
        """Its DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def expected_at(self) -> str:
        """The instant at which the recording's truth was read."""
        meta = json.loads((self.root / "meta.json").read_text(encoding="utf-8"))
        return str(meta["expected_at"])

    def truth(self, table: str) -> Path:
        """What `SELECT *` answered on the recorded node, serialized."""
        return self.root / "expected" / f"{table}.raw.jsonl"

    def make(self) -> None:
        """Unpacks and writes what is missing; the configuration is written anew, the key ring never."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / "unpacked").exists():
                with resources.as_file(_DATA / _RECORDING) as packed, tarfile.open(packed) as archive:
                    archive.extractall(self.root, filter="data")
                (self.root / "unpacked").touch()
            for name in ("cdc.yaml", "masking.yaml"):
                (self.root / name).write_text((_DATA / name).read_text(encoding="utf-8"), encoding="utf-8")
            self._make_dagster_home()
        except OSError as error:
            message = f"expected a folder for the demo, found: {error.strerror}"
            raise ConfigurationError(message, where=str(error.filename or self.root)) from None
        if not (self.root / "keys.json").exists():
            KeyRing.generate(self.root / "keys.json")

    def _make_dagster_home(self) -> None:
        self.dagster_home.mkdir(exist_ok=True)
        instance, target = Path("dagster.yaml"), self.dagster_home / "dagster.yaml"
        if instance.is_file():
            shutil.copyfile(instance, target)
        elif not target.exists():
            target.write_text("telemetry: {enabled: false}\n", encoding="utf-8")
