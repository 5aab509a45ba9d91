-- What became of pins and does not stand in the network's log yet (ARCHITECTURE.md, "Recover"). Names begin with the time, so
-- that new rows lie side by side.
CREATE TABLE pin_changes (
    id         TEXT PRIMARY KEY,
    pin_id     TEXT NOT NULL,
    account_id TEXT NOT NULL,
    cid        TEXT NOT NULL
);

-- The one row of the log. seq_us: the place of its last part; from_us: parts before this one count no more. sweep_us: since
-- when all pins are being written down anew (0: they are not), up to the one that the cursor names; swept_us: when that was
-- last begun and ended.
CREATE TABLE pin_log (
    id               TEXT PRIMARY KEY,
    seq_us           BIGINT NOT NULL,
    from_us          BIGINT NOT NULL,
    sweep_us         BIGINT NOT NULL,
    sweep_cursor     TEXT NOT NULL,
    swept_us         BIGINT NOT NULL,
    written_ms       BIGINT NOT NULL,
    claimed_until_ms BIGINT NOT NULL
);
INSERT INTO pin_log VALUES ('log', 0, 0, 0, '', 0, 0, 0);

-- Segments that hold parts of the log.
CREATE TABLE pin_log_segments (
    segment_id TEXT PRIMARY KEY,
    seq_us     BIGINT NOT NULL
);

-- The one row of what monitors know of the database itself. beat_ms: the last sign of life; between gap_from_ms and gap_to_ms
-- there was none. held_ms: since when nothing is collected.
CREATE TABLE network_state (
    id          TEXT PRIMARY KEY,
    beat_ms     BIGINT NOT NULL,
    gap_from_ms BIGINT NOT NULL,
    gap_to_ms   BIGINT NOT NULL,
    held_ms     BIGINT,
    held_why    TEXT NOT NULL DEFAULT ''
);

-- What a recovery has found at nodes, while it lasts.
CREATE TABLE found_pieces (
    segment_id   TEXT NOT NULL,
    piece_index  BIGINT NOT NULL,
    node_id      TEXT NOT NULL,
    hash         TEXT NOT NULL,
    scheme       TEXT NOT NULL,
    length_bytes BIGINT NOT NULL,
    stored_ms    BIGINT NOT NULL,
    PRIMARY KEY (segment_id, piece_index, node_id, hash)
);
CREATE INDEX found_pieces_by_node ON found_pieces (node_id);
-- done: what became of it; kind: restored, known, log.
CREATE TABLE found_segments (
    id   TEXT PRIMARY KEY,
    kind TEXT NOT NULL
);
CREATE TABLE found_links (
    parent TEXT NOT NULL,
    child  TEXT NOT NULL,
    PRIMARY KEY (parent, child)
);
CREATE INDEX found_links_by_child ON found_links (child);
-- What records say of pins. is_note: in notes, not in the log; is_known: the database knew this part of the log itself;
-- has_id is false for notes of version 1, which name no pin.
CREATE TABLE found_pins (
    pin_id     TEXT NOT NULL,
    seq_us     BIGINT NOT NULL,
    is_note    BOOLEAN NOT NULL,
    is_known   BOOLEAN NOT NULL,
    is_gone    BOOLEAN NOT NULL,
    account_id TEXT NOT NULL,
    cid        TEXT NOT NULL,
    is_v0      BOOLEAN NOT NULL,
    has_id     BOOLEAN NOT NULL,
    created_us BIGINT NOT NULL,
    expires_ms BIGINT,
    is_held    BOOLEAN NOT NULL,
    size_bytes BIGINT,
    dag_bytes  BIGINT,
    PRIMARY KEY (pin_id, seq_us, is_note)
);
CREATE INDEX found_pins_by_root ON found_pins (cid, account_id);
CREATE TABLE found_log (
    seq_us  BIGINT PRIMARY KEY,
    from_us BIGINT NOT NULL
);
-- Pins that the database knows to have changed since its own log was written; those that are gone at the end of time.
CREATE TABLE found_changes (
    pin_id TEXT PRIMARY KEY,
    at_us  BIGINT NOT NULL,
    cid    TEXT NOT NULL
);
CREATE INDEX found_changes_by_root ON found_changes (cid);
