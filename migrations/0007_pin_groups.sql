-- Groups into which an account sorts its pins. A pin is in one of them at most, and stays when its group goes.
CREATE TABLE pin_groups (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    name       TEXT NOT NULL,
    is_public  BOOLEAN NOT NULL,
    created_us BIGINT NOT NULL
);
CREATE INDEX pin_groups_by_time ON pin_groups (account_id, created_us, id);
ALTER TABLE pins ADD COLUMN group_id TEXT;
CREATE INDEX pins_by_group ON pins (group_id) WHERE group_id IS NOT NULL;
-- What whoever uploaded it said it is, and of how many files it is made; NULL where nobody said so.
ALTER TABLE pins ADD COLUMN mime_type TEXT;
ALTER TABLE pins ADD COLUMN file_count BIGINT;
-- The value as a number, if it is one: 9 comes before 10.
ALTER TABLE pin_meta ADD COLUMN number DOUBLE PRECISION;
