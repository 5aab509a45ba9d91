-- The one row of a recovery that is not done. backup_ms: when somebody last watched the database before it was lost or set
-- back (0: nobody knows).
CREATE TABLE recovery (
    id        TEXT PRIMARY KEY,
    backup_ms BIGINT NOT NULL
);
-- Pinned roots under which blocks were missing: a later run may find them.
CREATE TABLE found_incomplete (
    cid TEXT PRIMARY KEY
);
