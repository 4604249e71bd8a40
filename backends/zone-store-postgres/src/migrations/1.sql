-- One row: what the last group left.
CREATE TABLE {s}.head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    format integer NOT NULL,
    last_group bigint NOT NULL CHECK (last_group >= 0),
    fence bigint NOT NULL CHECK (fence >= 0),
    -- Counts the questions for the last group. A group that was sent under an older count is refused.
    session bigint NOT NULL CHECK (session >= 0)
) WITH (fillfactor = 10);

INSERT INTO {s}.head (format, last_group, fence, session) VALUES (1, 0, 0, 0);

-- bytea is ordered as bytes, whatever the database's collation.
CREATE TABLE {s}.records (
    key bytea PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 512),
    value bytea NOT NULL CHECK (octet_length(value) <= 131072),
    revision bigint NOT NULL CHECK (revision > 0)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- Ciphertext does not shrink.
ALTER TABLE {s}.records ALTER COLUMN value SET STORAGE EXTERNAL;

-- One group, in the one transaction of the statement that calls it. Each statement here has a
-- snapshot of its own, so those behind the first see what the row's lock made them wait for.
CREATE FUNCTION {s}.apply_group(
    p_session bigint, p_number bigint, p_fence bigint,
    p_keys bytea[], p_values bytea[], p_removed bytea[]
) RETURNS smallint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_session bigint;
BEGIN
    IF current_setting('fsync') <> 'on' OR current_setting('full_page_writes') <> 'on'
        OR current_setting('synchronous_commit') IN ('off', 'local') THEN
        RETURN 3;
    END IF;
    SELECT session INTO v_session FROM {s}.head
        WHERE last_group = p_number - 1 AND fence <= p_fence FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 1;
    END IF;
    IF v_session <> p_session THEN
        RETURN 2;
    END IF;
    UPDATE {s}.head SET last_group = p_number, fence = p_fence
        WHERE last_group = p_number - 1 AND fence <= p_fence AND session = p_session;
    DELETE FROM {s}.records WHERE key = ANY (p_removed);
    INSERT INTO {s}.records (key, value, revision)
        SELECT k, v, p_number FROM unnest(p_keys, p_values) AS g (k, v)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision;
    RETURN 0;
END
$$;
