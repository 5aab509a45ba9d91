-- What each monitor says of itself (store/src/monitors.rs): when it gave its last sign of life, and why it holds consequences
-- back, if it does. A monitor has a new name with each start; rows of those that are gone are forgotten.
CREATE TABLE monitors (
    id      TEXT PRIMARY KEY,
    seen_ms BIGINT NOT NULL,
    breaker TEXT
);
-- When somebody else than a monitor last wrote down a sign of life: a recovery, or a gateway that has nothing be collected. A
-- beat_ms that is not later is not a monitor's.
ALTER TABLE network_state ADD COLUMN stand_in_ms BIGINT NOT NULL DEFAULT 0;
