"""From decoded changes to changes that may leave: nothing unmasked goes further.

    classify    what a column's name says: PII, PHI or nothing
    pattern     `keyspace.table.column` with globs
    rule        one rule; scope and normalisation
    rules       the built-in lists, or a YAML file's (rules_file, strict_yaml): MaskingRules
    secret      one key and its subkeys
    keys        the key ring: file (private_file), environment, generation
    decision    what happens to one column, and why
    policy      rules + key ring + the word about unclassified columns: MaskingPolicy
    masks       HMAC-SHA-256 and AES-SIV, one value
    masker      a whole column: Masker
    report      decisions and counts that add up: MaskingReport
    seal        the bytes of a mutation that nobody can read
    compaction  a batch merged to one row per key
    stage       the merged batch, masked

What comes out is pseudonymised, not anonymous, and not HIPAA Safe Harbor.
"""

from cdc_pipeline.transform.classify import MaskingStrategy, classify_field
from cdc_pipeline.transform.compaction import Cells, ColumnDeletions, MergedBatch, RangeDeletion, Rows, compact, taken
from cdc_pipeline.transform.decision import Decision, Unclassified
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.masker import Masked, Masker
from cdc_pipeline.transform.policy import MaskingPolicy
from cdc_pipeline.transform.report import MaskingReport
from cdc_pipeline.transform.rule import Normalise, Scope
from cdc_pipeline.transform.rules import MaskingRules
from cdc_pipeline.transform.seal import open_mutation
from cdc_pipeline.transform.stage import MaskedBatch, TableMasks, mask_input

__all__ = [
    "Cells",
    "ColumnDeletions",
    "Decision",
    "KeyRing",
    "Masked",
    "MaskedBatch",
    "Masker",
    "MaskingPolicy",
    "MaskingReport",
    "MaskingRules",
    "MaskingStrategy",
    "MergedBatch",
    "Normalise",
    "RangeDeletion",
    "Rows",
    "Scope",
    "TableMasks",
    "Unclassified",
    "classify_field",
    "compact",
    "mask_input",
    "open_mutation",
    "taken",
]
