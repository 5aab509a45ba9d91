-- Who failed to prove a piece last, and when: a repair places the segment's pieces on other nodes for some time.
ALTER TABLE pieces ADD COLUMN lost_by TEXT;
ALTER TABLE pieces ADD COLUMN lost_ms BIGINT;
