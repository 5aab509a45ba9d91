-- One text for SQLite and PostgreSQL: TEXT, BIGINT, BOOLEAN, DOUBLE PRECISION only. Hashes and ids are hex, CIDs base32,
-- times milliseconds since 1970, money micro-units. Keys are natural or random, never sequences.

CREATE TABLE accounts (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    quota_bytes BIGINT NOT NULL,
    used_bytes  BIGINT NOT NULL DEFAULT 0,
    created_ms  BIGINT NOT NULL
);

-- secret_hash is BLAKE3 of the key's secret half: the secret is 256 random bits, so a fast hash is enough.
CREATE TABLE api_keys (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    created_ms  BIGINT NOT NULL,
    expires_ms  BIGINT,
    revoked_ms  BIGINT
);
CREATE INDEX api_keys_by_account ON api_keys (account_id);

-- Leave for one operator to enrol nodes.
CREATE TABLE invites (
    token_hash TEXT PRIMARY KEY,
    operator   TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    nodes_left BIGINT NOT NULL
);

CREATE TABLE nodes (
    id             TEXT PRIMARY KEY,
    url            TEXT NOT NULL,
    operator       TEXT NOT NULL,
    address        TEXT NOT NULL,
    region         TEXT NOT NULL,
    country        TEXT,
    latitude       DOUBLE PRECISION,
    longitude      DOUBLE PRECISION,
    version        TEXT NOT NULL,
    capacity_bytes BIGINT NOT NULL,
    used_bytes     BIGINT NOT NULL,
    free_bytes     BIGINT NOT NULL,
    piece_count    BIGINT NOT NULL,
    enrolled_ms    BIGINT NOT NULL,
    heartbeat_ms   BIGINT NOT NULL,
    -- What the monitor saw itself: the last contact that worked, and since when none does (NULL: online).
    contact_ms     BIGINT NOT NULL,
    offline_ms     BIGINT,
    standing       TEXT NOT NULL,
    -- JSON of protocol::reputation::Reputation; written by compare-and-swap on revision.
    reputation     TEXT NOT NULL,
    revision       BIGINT NOT NULL DEFAULT 0,
    -- When each recurring job next visits the node. A job claims a node by moving its time forward.
    probe_ms       BIGINT NOT NULL DEFAULT 0,
    audit_ms       BIGINT NOT NULL DEFAULT 0,
    reconcile_ms   BIGINT NOT NULL DEFAULT 0,
    -- Pieces up to this hash were looked at by the present walk over an offline or disqualified node's pieces.
    sweep_cursor   TEXT
);
CREATE INDEX nodes_by_probe ON nodes (probe_ms, id);
CREATE INDEX nodes_by_audit ON nodes (audit_ms, id);
CREATE INDEX nodes_by_reconcile ON nodes (reconcile_ms, id);

-- pending: pieces are durable, the upload is not finished; live: some pinned root needs it;
-- orphaned: no root does, collected after due_ms; lost: too few pieces left to read it, collected when no root needs it.
CREATE TABLE segments (
    id           TEXT PRIMARY KEY,
    codec        TEXT NOT NULL,
    needed       BIGINT NOT NULL,
    total        BIGINT NOT NULL,
    length_bytes BIGINT NOT NULL,
    piece_bytes  BIGINT NOT NULL,
    state        TEXT NOT NULL,
    created_ms   BIGINT NOT NULL,
    due_ms       BIGINT NOT NULL
);
CREATE INDEX segments_due ON segments (state, due_ms);

-- node_id is NULL while the piece is on no node (missing). The hash stays: a rebuilt piece must equal it.
CREATE TABLE pieces (
    segment_id  TEXT NOT NULL,
    piece_index BIGINT NOT NULL,
    hash        TEXT NOT NULL,
    node_id     TEXT,
    stored_ms   BIGINT NOT NULL,
    verified_ms BIGINT NOT NULL,
    PRIMARY KEY (segment_id, piece_index)
);
CREATE INDEX pieces_by_node ON pieces (node_id, hash);

-- A block may lie in several segments when gateways stored it at the same time.
CREATE TABLE blocks (
    cid          TEXT NOT NULL,
    segment_id   TEXT NOT NULL,
    offset_bytes BIGINT NOT NULL,
    length_bytes BIGINT NOT NULL,
    PRIMARY KEY (cid, segment_id)
);
CREATE INDEX blocks_by_segment ON blocks (segment_id);

-- pins counts the accounts that have the root pinned: the row goes with the last of them. A count instead of an index of
-- pins by cid, because every tree with random keys costs each small upload a page to write.
CREATE TABLE roots (
    cid            TEXT PRIMARY KEY,
    size_bytes     BIGINT NOT NULL,
    dag_size_bytes BIGINT NOT NULL,
    created_ms     BIGINT NOT NULL,
    pins           BIGINT NOT NULL
);

-- Which segments a pinned root's blocks lie in: what keeps a segment alive.
CREATE TABLE root_segments (
    cid        TEXT NOT NULL,
    segment_id TEXT NOT NULL,
    PRIMARY KEY (cid, segment_id)
);
CREATE INDEX root_segments_by_segment ON root_segments (segment_id);

CREATE TABLE pins (
    account_id TEXT NOT NULL,
    cid        TEXT NOT NULL,
    name       TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    PRIMARY KEY (account_id, cid)
);
CREATE INDEX pins_by_time ON pins (account_id, created_ms, cid);
CREATE INDEX pins_by_expiry ON pins (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE repairs (
    segment_id       TEXT PRIMARY KEY,
    -- Expected days until the segment is lost; the smallest goes first.
    urgency_days     DOUBLE PRECISION NOT NULL,
    queued_ms        BIGINT NOT NULL,
    not_before_ms    BIGINT NOT NULL,
    attempts         BIGINT NOT NULL,
    claimed_by       TEXT,
    claimed_until_ms BIGINT NOT NULL
);
CREATE INDEX repairs_by_urgency ON repairs (urgency_days, segment_id);

-- Pieces that a node holds and need no longer hold: told to it when it can be reached.
CREATE TABLE unpins (
    node_id   TEXT NOT NULL,
    hash      TEXT NOT NULL,
    queued_ms BIGINT NOT NULL,
    PRIMARY KEY (node_id, hash)
);

-- What was decided and why, trimmed by age.
CREATE TABLE events (
    id         TEXT PRIMARY KEY,
    at_ms      BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    node_id    TEXT,
    segment_id TEXT,
    details    TEXT NOT NULL
);
CREATE INDEX events_by_time ON events (at_ms);

-- What each node earned, added up by hour. quantity is byte-seconds for storage and bytes for the rest.
CREATE TABLE ledger (
    node_id  TEXT NOT NULL,
    hour_ms  BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    micros   BIGINT NOT NULL,
    PRIMARY KEY (node_id, hour_ms, kind)
);

-- The fraction of a micro-unit that each node is still owed, in units of the rate's denominator (see protocol::pay), so
-- that rounding never loses or invents money.
CREATE TABLE ledger_carry (
    node_id TEXT NOT NULL,
    kind    TEXT NOT NULL,
    carry   BIGINT NOT NULL,
    PRIMARY KEY (node_id, kind)
);

-- Windows of redeemed orders that were settled: each at most once.
CREATE TABLE settlements (
    node_id    TEXT NOT NULL,
    hour_ms    BIGINT NOT NULL,
    settled_ms BIGINT NOT NULL,
    PRIMARY KEY (node_id, hour_ms)
);
