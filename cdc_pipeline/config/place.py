"""What every destination has: one way to reach it, its types, and what follows a DROP."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_pipeline.config.section import FilePath, Section


class TypeSettings(Section):
    """How CQL types become the destination's; `columns` overrides one: `keyspace.table.column: type`."""

    profile: Literal["native", "exact"] = "native"
    columns: dict[str, str] = Field(default_factory=dict)


class DropSettings(Section):
    """What follows when Cassandra drops a column (`hide`: users see it no more; `keep`: they go on to see what it held)
    or a table (`keep`; `drop`: what users see of it goes, and its rows)."""

    columns: Literal["hide", "keep"] = "hide"
    tables: Literal["keep", "drop"] = "keep"


class Place(Section):
    """What every destination has: one way to reach it, and its types."""

    _where: ClassVar[frozenset[str]] = frozenset()
    """What says where a server is, and as whom it is asked: an embedded one knows that."""

    embedded: bool = False
    directory: FilePath | None = None
    types: TypeSettings = TypeSettings()

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> Self:
        ways = [name for name in ("embedded", "dsn", "host") if getattr(self, name, None)]
        if len(ways) != 1:
            found = " and ".join(ways) or "none"
            raise PydanticCustomError(
                "way", "expected exactly one of embedded: true, host or dsn, found {found}", {"found": found}
            )
        if self.embedded and self.directory is None:
            raise PydanticCustomError("way", "expected the directory of the embedded server, found none")
        if self.directory is not None and not self.embedded:
            raise PydanticCustomError("way", "expected directory only with embedded: true")
        idle = sorted(self.model_fields_set & self._where) if self.embedded else []
        if idle:
            raise PydanticCustomError("way", "expected no {idle} with embedded: true", {"idle": ", ".join(idle)})
        return self
