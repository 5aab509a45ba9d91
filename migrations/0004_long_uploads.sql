-- Uploads of more blocks than a gateway remembers: their blocks are recorded as they become durable, each with its upload's
-- name, and can be read once the upload is finished. due_ms: without a sign of life until then it is given up,
-- and 0 says that it was.
CREATE TABLE long_uploads (
    id          TEXT PRIMARY KEY,
    due_ms      BIGINT NOT NULL,
    finished_ms BIGINT
);
CREATE INDEX long_uploads_due ON long_uploads (due_ms);

-- NULL: part of some finished upload.
ALTER TABLE blocks ADD COLUMN upload_id TEXT;
CREATE INDEX blocks_by_upload ON blocks (upload_id) WHERE upload_id IS NOT NULL;
