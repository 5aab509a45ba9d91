-- Uploads that come in several requests (tus). Each is a long upload of the same id, whose blocks are recorded as they become
-- durable; what is here is what the next request needs to know.
CREATE TABLE tus_uploads (
    id               TEXT PRIMARY KEY,
    account_id       TEXT NOT NULL,
    -- plain, partial (to be put together with others) or final (put together of the uploads that `parts` names)
    kind             TEXT NOT NULL,
    parts            TEXT NOT NULL,
    metadata         TEXT NOT NULL,
    hash             TEXT NOT NULL,
    -- NULL: not said yet
    length_bytes     BIGINT,
    -- Bytes that are durable.
    offset_bytes     BIGINT NOT NULL,
    -- Its root, once all bytes are there.
    root             TEXT,
    dag_size_bytes   BIGINT NOT NULL,
    created_ms       BIGINT NOT NULL,
    due_ms           BIGINT NOT NULL,
    -- When it was pinned, or for a partial one when all its bytes were there.
    finished_ms      BIGINT,
    -- Which request writes, until when that holds without a sign of life from it, and when another one last wanted to.
    claim            TEXT NOT NULL DEFAULT '',
    claimed_until_ms BIGINT NOT NULL DEFAULT 0,
    wanted_ms        BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX tus_uploads_by_account ON tus_uploads (account_id);
CREATE INDEX tus_uploads_due ON tus_uploads (due_ms);

-- In base64: the state of the builder up to the last whole leaf, and the bytes behind it. A table of its own, because the rows
-- above change every few seconds and these are up to a megabyte and a half.
CREATE TABLE tus_progress (
    upload_id TEXT PRIMARY KEY,
    builder   TEXT NOT NULL,
    tail      TEXT NOT NULL
);

-- Segments that a long upload in several requests relies on: they stay while it lasts.
CREATE TABLE long_upload_segments (
    upload_id  TEXT NOT NULL,
    segment_id TEXT NOT NULL,
    PRIMARY KEY (upload_id, segment_id)
);
CREATE INDEX long_upload_segments_by_segment ON long_upload_segments (segment_id);
