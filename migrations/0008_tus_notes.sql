-- The import profile of an upload in several requests; what is still to be said of the pin that it becomes, empty when nothing is.
ALTER TABLE tus_uploads ADD COLUMN profile TEXT NOT NULL DEFAULT 'unixfs-v1-2025';
ALTER TABLE tus_uploads ADD COLUMN notes TEXT NOT NULL DEFAULT '';
-- Whether a request's bytes are kept all or not at all.
ALTER TABLE tus_uploads ADD COLUMN whole_pieces BOOLEAN NOT NULL DEFAULT FALSE;
-- Where the bytes of the last request began that was taken whole, and their BLAKE3, to know it again when it is repeated.
ALTER TABLE tus_progress ADD COLUMN piece_offset BIGINT;
ALTER TABLE tus_progress ADD COLUMN piece_hash TEXT;
