-- Pins are also what is still to be fetched (queued, pinning), what could not be (failed), and what is only held for a while
-- without having been asked for by name (held). Those that are pinned or held have a root and are charged.
ALTER TABLE pins ADD COLUMN state TEXT NOT NULL DEFAULT 'pinned';
-- The name in lower case, where that is not the name itself: neither engine folds all of Unicode.
ALTER TABLE pins ADD COLUMN name_folded TEXT;
-- JSON list of where its bytes may be had.
ALTER TABLE pins ADD COLUMN origins TEXT;
-- Whether its CID was given as one of version 0, and is repeated so.
ALTER TABLE pins ADD COLUMN is_v0 BOOLEAN NOT NULL DEFAULT FALSE;
-- Why it failed, or how far it is.
ALTER TABLE pins ADD COLUMN info TEXT;
UPDATE pins SET name_folded = lower(name) WHERE lower(name) <> name;
-- Nearly all pins are pinned.
CREATE INDEX pins_by_state ON pins (account_id, state, created_us) WHERE state <> 'pinned';

CREATE TABLE pin_meta (
    pin_id TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (pin_id, key)
);

-- Pins to be fetched. Whoever fetches one claims it for a while, again and again; deadline_ms: it fails then at the latest.
CREATE TABLE pin_jobs (
    pin_id           TEXT PRIMARY KEY,
    not_before_ms    BIGINT NOT NULL,
    attempts         BIGINT NOT NULL,
    deadline_ms      BIGINT NOT NULL,
    claimed_until_ms BIGINT NOT NULL
);
CREATE INDEX pin_jobs_by_time ON pin_jobs (not_before_ms, pin_id);
