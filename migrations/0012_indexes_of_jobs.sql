-- no-transaction
-- What finds lines of the ledger that are still of hours, and are to be added up by days (store/src/forget.rs).
CREATE INDEX IF NOT EXISTS ledger_by_hour ON ledger (hour_ms, node_id, kind)
    WHERE hour_ms % 86400000 <> 0 AND quantity < 300000000000000000;
CREATE INDEX IF NOT EXISTS settlements_by_hour ON settlements (hour_ms, node_id);
-- Uploads that are finished and not cleared away yet (store/src/long_uploads.rs).
CREATE INDEX IF NOT EXISTS long_uploads_finished ON long_uploads (finished_ms) WHERE finished_ms IS NOT NULL;
