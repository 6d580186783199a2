-- The time of a key column that is none itself, for a hypertable: constant for a key, and never NULL. What lies outside
-- of the years 1 to 9999 is at their end, an empty value at their beginning: a hypertable takes no infinity.

CREATE OR REPLACE FUNCTION cdc.time_of_millis(millis bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
  SELECT CASE WHEN millis IS NULL OR millis < -62135596800000 THEN timestamptz '0001-01-01 00:00:00+00'
              WHEN millis >= 253402300800000 THEN timestamptz '9999-12-31 23:59:59.999999+00'
              ELSE to_timestamp(millis / 1000) + millis % 1000 * interval '1 millisecond' END
$$;

CREATE OR REPLACE FUNCTION cdc.time_of_micros(micros bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
  SELECT CASE WHEN micros IS NULL OR micros < -62135596800000000 THEN timestamptz '0001-01-01 00:00:00+00'
              WHEN micros >= 253402300800000000 THEN timestamptz '9999-12-31 23:59:59.999999+00'
              ELSE to_timestamp(micros / 1000000) + micros % 1000000 * interval '1 microsecond' END
$$;

CREATE OR REPLACE FUNCTION cdc.time_of_days(days integer) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
  SELECT cdc.time_of_millis(days::bigint * 86400000)
$$;

-- 100 ns since 1582-10-15, in the order: low 8 digits, middle 4, version, high 3.
CREATE OR REPLACE FUNCTION cdc.time_of_timeuuid(id uuid) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
  SELECT cdc.time_of_micros((
    ('x0' || substr(id::text, 16, 3) || substr(id::text, 10, 4) || substr(id::text, 1, 8))::bit(64)::bigint
    - 122192928000000000) / 10)
$$;
