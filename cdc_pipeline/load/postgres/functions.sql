-- What every state table and view uses. Run at every start: each statement may be repeated.

CREATE SCHEMA IF NOT EXISTS cdc;

-- One cell of a multi-cell column: the path's sort bytes, writetime (µs), x (NULL = live, 2^62 = tombstone, else expiry
-- in s << 30 | 2^30 - 1 - TTL), the serialized bytes that decide ties, and the text of the element.
DO $$ BEGIN
  CREATE TYPE cdc.cell AS (path bytea, w bigint, x bigint, tie bytea, frag text);
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- The clock that hides expired cells, the greatest x that is over: of now(), or of the instant in the setting cdc.as_of.
CREATE OR REPLACE FUNCTION cdc.now_x() RETURNS bigint STABLE LANGUAGE sql AS $$
  SELECT (floor(extract(epoch FROM coalesce(nullif(current_setting('cdc.as_of', true), '')::timestamptz, now())))::bigint
          + 1 << 30) - 1
$$;

-- Cassandra's rule per path: the greatest (writetime, rank and expiry, bytes); cells at or below the deletion go. Two forms
-- of one path (1.0 and 1.00 as a decimal) may be equal in all of these: then the texts decide, so that one answer is left.
CREATE OR REPLACE FUNCTION cdc.merge_cells(a cdc.cell[], b cdc.cell[], deleted bigint) RETURNS cdc.cell[]
IMMUTABLE LANGUAGE sql AS $$
  SELECT array_agg(ROW(path, w, x, tie, frag)::cdc.cell ORDER BY path)
  FROM (SELECT DISTINCT ON (path) path, w, x, tie, frag
        FROM unnest(coalesce(a, '{}') || coalesce(b, '{}'))
        WHERE deleted IS NULL OR w > deleted
        ORDER BY path, w DESC, coalesce(x, 0) DESC, tie DESC NULLS LAST, frag COLLATE "C" DESC NULLS LAST) winners
$$;

-- The shards of a counter: cells whose path is counter id (16 bytes), clock and count, made to sort, and whose text is the
-- count. One that another of its id outlives in both (clock, count) and writetime will never count again.
CREATE OR REPLACE FUNCTION cdc.merge_shards(a cdc.cell[], b cdc.cell[], deleted bigint) RETURNS cdc.cell[]
IMMUTABLE LANGUAGE sql AS $$
  WITH merged AS MATERIALIZED (SELECT path, w, frag FROM unnest(cdc.merge_cells(a, b, deleted)))
  SELECT array_agg(ROW(path, w, NULL, NULL, frag)::cdc.cell ORDER BY path) FROM merged m
  WHERE NOT EXISTS (SELECT 1 FROM merged o
                    WHERE substr(o.path, 1, 16) = substr(m.path, 1, 16) AND o.path > m.path AND o.w >= m.w)
$$;

-- A counter: of each counter id the count with the greatest clock that no deletion hides, added up as 64 bits wrap.
-- A deletion of the column hides all, younger ones too, until a deletion of the row or a truncation hides it (`lowest`).
CREATE OR REPLACE FUNCTION cdc.counter_sum(shards cdc.cell[], deleted bigint, lowest bigint) RETURNS bigint
IMMUTABLE LANGUAGE sql AS $$
  SELECT (mod(mod(sum(frag::numeric) + 9223372036854775808, 18446744073709551616) + 18446744073709551616,
              18446744073709551616) - 9223372036854775808)::bigint
  FROM (SELECT DISTINCT ON (substr(path, 1, 16)) frag FROM unnest(shards)
        WHERE w > lowest AND NOT coalesce(deleted > lowest, false)
        ORDER BY substr(path, 1, 16), path DESC) newest
$$;

CREATE OR REPLACE FUNCTION cdc.cells_array(cells cdc.cell[], deleted bigint, now bigint) RETURNS text[]
IMMUTABLE LANGUAGE sql AS $$
  SELECT array_agg(frag ORDER BY path) FROM unnest(cells)
  WHERE (deleted IS NULL OR w > deleted) AND (x IS NULL OR (x > now AND x < 4611686018427387904))
$$;

CREATE OR REPLACE FUNCTION cdc.cells_text(cells cdc.cell[], deleted bigint, now bigint, opening text, closing text)
RETURNS text IMMUTABLE LANGUAGE sql AS $$
  SELECT opening || string_agg(frag, ', ' ORDER BY path) || closing FROM unnest(cells)
  WHERE (deleted IS NULL OR w > deleted) AND (x IS NULL OR (x > now AND x < 4611686018427387904))
$$;

-- A user type: every field in order, null where it has no cell; NULL when no field has one.
CREATE OR REPLACE FUNCTION cdc.cells_fields(cells cdc.cell[], deleted bigint, now bigint, fields text[])
RETURNS text IMMUTABLE LANGUAGE sql AS $$
  SELECT '{' || string_agg(f.name || ': ' || coalesce(c.frag, 'null'), ', ' ORDER BY f.i) || '}'
  FROM unnest(fields) WITH ORDINALITY f(name, i)
  LEFT JOIN (SELECT path, frag FROM unnest(cells)
             WHERE (deleted IS NULL OR w > deleted) AND (x IS NULL OR (x > now AND x < 4611686018427387904))) c
    ON c.path = set_byte(set_byte('\x0000'::bytea, 0, ((f.i - 1) / 256)::int), 1, ((f.i - 1) % 256)::int)
  HAVING count(c.path) > 0
$$;

-- A lane's position; the truth about what is loaded. shard is the partition in Dagster.
CREATE TABLE IF NOT EXISTS cdc.cdc_offsets (
  destination text NOT NULL,
  partition_id text NOT NULL,
  commitlog_file text NOT NULL,
  commitlog_position bigint NOT NULL,
  events_processed bigint NOT NULL,
  last_committed_at timestamptz NOT NULL,
  epoch bigint NOT NULL,
  run_id text NOT NULL,
  PRIMARY KEY (destination, partition_id)
);

-- The segments that a lane has read, as far as `commitlog_position`: one that turns up below the offset later is noticed.
CREATE TABLE IF NOT EXISTS cdc.cdc_segments (
  destination text NOT NULL,
  partition_id text NOT NULL,
  commitlog_file text NOT NULL,
  commitlog_position bigint NOT NULL,
  PRIMARY KEY (destination, partition_id, commitlog_file)
);

-- The tables that were loaded: one name may have stood for several, each with an id and a state table of its own. The
-- view shows the one that was created last (100 ns since 1582, of a version 1 id), as its greatest version says (µs).
-- `dropped`: its rows were taken away when Cassandra dropped it, and what comes late is shown to nobody.
CREATE TABLE IF NOT EXISTS cdc.cdc_tables (
  keyspace_name text NOT NULL,
  table_name text NOT NULL,
  table_id uuid NOT NULL,
  generation integer NOT NULL,
  created bigint NOT NULL,
  version bigint NOT NULL,
  dropped boolean NOT NULL DEFAULT false,
  PRIMARY KEY (keyspace_name, table_name, table_id)
);

-- Tables that were emptied: what was written at or before `ts` (µs) is gone, also what arrives later.
CREATE TABLE IF NOT EXISTS cdc.cdc_truncations (
  table_id uuid PRIMARY KEY,
  ts bigint NOT NULL
);

-- Row changes, and damaged places of the log, that could not be loaded. Never a value of a masked column.
CREATE TABLE IF NOT EXISTS cdc.dead_letters (
  id uuid PRIMARY KEY,
  destination text NOT NULL,
  partition_id text NOT NULL,
  keyspace_name text,
  table_name text,
  reason text NOT NULL,
  message text NOT NULL,
  event jsonb NOT NULL,
  schema_details jsonb NOT NULL,
  commitlog_file text NOT NULL,
  commitlog_position bigint NOT NULL,
  failed_at timestamptz NOT NULL,
  retry_count integer NOT NULL DEFAULT 0,
  status text NOT NULL DEFAULT 'parked'
);
CREATE INDEX IF NOT EXISTS dead_letters_table ON cdc.dead_letters (keyspace_name, table_name);

-- The masking keys that a table's columns were masked with: a silent change would break every join.
CREATE TABLE IF NOT EXISTS cdc.mask_keys (
  keyspace_name text NOT NULL,
  table_name text NOT NULL,
  column_name text NOT NULL,
  decision text NOT NULL,
  fingerprint text NOT NULL,
  PRIMARY KEY (keyspace_name, table_name, column_name)
);
