"""The decoder's tests run on both twins of the kernel: the compiled one, and its source interpreted."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest

from cdc_pipeline.decode import reader, section_cy
from cdc_pipeline_tests.recordings import Recording, opener


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)


@pytest.fixture(scope="session")
def interpreted() -> ModuleType:
    """The kernel's source, run by Python."""
    path = section_cy.__file__.rpartition("/")[0] + "/section_cy.py"
    loader = importlib.machinery.SourceFileLoader("section_interpreted", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(params=["compiled", "interpreted"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Puts one of the twins under the reader."""
    module = section_cy if request.param == "compiled" else request.getfixturevalue("interpreted")
    assert module.COMPILED is (request.param == "compiled")
    monkeypatch.setattr(reader, "Kernel", module.Kernel)
    monkeypatch.setattr(reader, "TableColumns", module.TableColumns)
    return module
