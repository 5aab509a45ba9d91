-- Pins have names of their own, so that an account can ask for one CID twice and remove one of the two. They are listed by
-- when they were made, to the microsecond: clients page by that time alone.
CREATE TABLE pins_with_ids (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    cid        TEXT NOT NULL,
    name       TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    expires_ms BIGINT
);
INSERT INTO pins_with_ids
    SELECT account_id || '.' || cid, account_id, cid, name, size_bytes, created_ms * 1000, expires_ms FROM pins;
DROP TABLE pins;
ALTER TABLE pins_with_ids RENAME TO pins;
CREATE INDEX pins_by_time ON pins (account_id, created_us, id);
CREATE INDEX pins_by_cid ON pins (account_id, cid);
CREATE INDEX pins_by_expiry ON pins (expires_ms) WHERE expires_ms IS NOT NULL;
