-- Traffic of hours before before_ms is settled or lost: what says which of them were settled is forgotten, and nobody is paid
-- for them any more. One row.
CREATE TABLE settled_hours (
    id        BIGINT PRIMARY KEY,
    before_ms BIGINT NOT NULL
);
INSERT INTO settled_hours (id, before_ms) VALUES (1, 0);
