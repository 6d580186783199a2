"""CQL types: what they are, how their values print, how they sort.

Reading order:

* `model`: one frozen dataclass per kind of type.
* `parse`: from the texts of `system_schema` to these.
* `wire`: lengths, variable-length integers, the parts of composed values.
* `strings`, `numbers`, `floats`, `temporal`, `identifiers`, `collections`: the JSON text of each family, registered in
  `registry`; `json` compiles one function per type out of them, letter by letter as Cassandra prints, or without the
  losses of that form for a destination.
* `sortkeys`, `ordering`: bytes that sort as Cassandra sorts values, clusterings and the bounds of ranges; `key_arrays`
  the same for whole Arrow columns, by the kernel `keys_cy` where it is compiled.

Values come in and go out as serialized bytes; malformed ones are a ValueError that never holds the value.
"""

from cdc_pipeline.types.collections import field_label
from cdc_pipeline.types.json import part_json, to_json
from cdc_pipeline.types.model import (
    CqlType,
    CustomType,
    ListType,
    MapType,
    Scalar,
    SetType,
    TupleType,
    UserType,
    VectorType,
    holds,
    inside,
)
from cdc_pipeline.types.numbers import decode_decimal, decode_varint
from cdc_pipeline.types.ordering import ClusteringKey, clustering_key, range_bounds, sort_key
from cdc_pipeline.types.parse import UserTypes, parse_type
from cdc_pipeline.types.registry import Form
from cdc_pipeline.types.strings import json_string, map_key_json
from cdc_pipeline.types.temporal import decode_duration
from cdc_pipeline.types.wire import split_collection

__all__ = [
    "ClusteringKey",
    "CqlType",
    "CustomType",
    "Form",
    "ListType",
    "MapType",
    "Scalar",
    "SetType",
    "TupleType",
    "UserType",
    "UserTypes",
    "VectorType",
    "clustering_key",
    "decode_decimal",
    "decode_duration",
    "decode_varint",
    "field_label",
    "holds",
    "inside",
    "json_string",
    "map_key_json",
    "parse_type",
    "part_json",
    "range_bounds",
    "sort_key",
    "split_collection",
    "to_json",
]
