-- Ten million rows, of which each names what it hangs on: made once, then read by all the queries. Times are milliseconds
-- before and after 1,700,000,000,000, hashes are made of numbers.
--   125,000 segments of 27 blocks and 20 pieces each, on 500 nodes. Every fifth block is a root
--   10,000 accounts, of which the first has a fifth of all pins
CREATE FUNCTION cid_of(n BIGINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE PARALLEL SAFE AS
    $$ SELECT 'bafkreia' || translate(md5(n::TEXT), '0123456789abcdef', 'ponmlkjihgfedcba') || 'aaaaaaaaaaaaaaaaaaa' $$;
CREATE FUNCTION segment_of(n BIGINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE PARALLEL SAFE AS
    $$ SELECT md5('s' || n::TEXT) $$;
CREATE FUNCTION node_of(n BIGINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE PARALLEL SAFE AS
    $$ SELECT md5('n' || n::TEXT) || '00000000000000000000000000000000' $$;
CREATE FUNCTION account_of(n BIGINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE PARALLEL SAFE AS
    $$ SELECT 'account-' || CASE WHEN n % 5 = 0 THEN 0 ELSE n % 10000 END $$;

INSERT INTO accounts (id, name, quota_bytes, used_bytes, created_ms)
    SELECT 'account-' || n, 'account ' || n, 1000000000000000, 0, 1700000000000 FROM generate_series(0, 9999) n;
INSERT INTO api_keys (id, account_id, name, secret_hash, scopes, created_ms)
    SELECT 'key-' || n, 'account-' || n % 10000, 'key', md5(n::TEXT), 'all', 1700000000000 + n FROM generate_series(0, 49999) n;
INSERT INTO invites (token_hash, operator, created_ms, expires_ms, nodes_left)
    SELECT md5(n::TEXT), 'operator', 1700000000000, 1800000000000, 1 FROM generate_series(0, 9999) n;
INSERT INTO nodes (id, url, operator, address, region, version, capacity_bytes, used_bytes, free_bytes, piece_count,
    enrolled_ms, heartbeat_ms, contact_ms, standing, reputation, probe_ms, audit_ms, reconcile_ms)
    SELECT node_of(n), 'http://node-' || n, 'operator', '10.0.0.1', 'eu', '1', 1000, 0, 1000, 0, 0, 0, 0, 'vetted', '{}',
        1700000000000 + n, 1700000000000 + n, 1700000000000 + n
    FROM generate_series(0, 499) n;
-- Of a hundred one waits for its upload, one is to be collected, one is lost and still needed.
INSERT INTO segments (id, codec, needed, total, length_bytes, piece_bytes, state, created_ms, due_ms)
    SELECT segment_of(n), 'gf8', 8, 20, 16777216, 2097152,
        CASE n % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'orphaned' WHEN 2 THEN 'lost' ELSE 'live' END, 1700000000000 + n,
        CASE WHEN n % 100 = 2 THEN 9223372036854775807 ELSE 1700000000000 + n END
    FROM generate_series(0, 124999) n;
INSERT INTO pieces (segment_id, piece_index, hash, node_id, stored_ms, verified_ms)
    SELECT s.id, i, md5((s.n * 20 + i)::TEXT) || '00000000000000000000000000000000', nodes.id, 1700000000000, 1700000000000
    FROM (SELECT n, segment_of(n) AS id FROM generate_series(0, 124999) n OFFSET 0) s, generate_series(0, 19) i,
        LATERAL (SELECT node_of((s.n * 7 + i * 23) % 500) AS id) nodes;
INSERT INTO blocks (cid, segment_id, offset_bytes, length_bytes, upload_id)
    SELECT cid_of(s.n * 27 + i), s.id, i * 600000, 500000, CASE WHEN s.n % 100 = 0 THEN 'upload-' || s.n % 1000 END
    FROM (SELECT n, segment_of(n) AS id FROM generate_series(0, 124999) n OFFSET 0) s, generate_series(0, 26) i;
INSERT INTO roots (cid, size_bytes, dag_size_bytes, created_ms, pins)
    SELECT cid_of(n * 5), 1000, 1100, 1700000000000, 1 FROM generate_series(0, 674999) n;
-- A root's first block is in the one, the rest in the next.
INSERT INTO root_segments (cid, segment_id)
    SELECT cid_of(n * 5), segment_of(n * 5 / 27 + i) FROM generate_series(0, 599999) n, generate_series(0, 1) i
    WHERE (n * 5 / 27 + i) % 100 > 1;
INSERT INTO pins (id, account_id, cid, name, size_bytes, created_us, expires_ms, state, group_id, mime_type)
    SELECT 'pin-' || n, account_of(n), cid_of(n * 5), 'file ' || n % 1000, 1000, 1700000000000000 + n,
        CASE WHEN n % 50 = 0 THEN 1700000000000 + n END,
        CASE WHEN n % 100 = 1 THEN 'queued' WHEN n % 100 = 2 THEN 'pinning' WHEN n % 100 = 3 THEN 'failed'
            WHEN n % 100 = 4 THEN 'held' ELSE 'pinned' END,
        CASE WHEN n % 10 = 0 THEN 'group-' || n / 10 % 2000 END, 'text/plain'
    FROM generate_series(0, 674999) n;
INSERT INTO pin_meta (pin_id, key, value, number)
    SELECT 'pin-' || n, 'k', n::TEXT, n FROM generate_series(0, 199999) n;
INSERT INTO pin_jobs (pin_id, not_before_ms, attempts, deadline_ms, claimed_until_ms)
    SELECT 'pin-' || n, 1700000000000 + n, 0, 1800000000000, 0 FROM generate_series(1, 674999, 100) n;
INSERT INTO pin_changes (id, pin_id, account_id, cid)
    SELECT lpad(n::TEXT, 20, '0'), 'pin-' || n, account_of(n), cid_of(n * 5) FROM generate_series(0, 99999) n;
INSERT INTO pin_groups (id, account_id, name, is_public, created_us)
    SELECT 'group-' || n, account_of(n), 'group ' || n, FALSE, 1700000000000000 + n FROM generate_series(0, 1999) n;
INSERT INTO long_uploads (id, due_ms, finished_ms)
    SELECT 'upload-' || n, 1700000000000 + n, CASE WHEN n % 2 = 0 THEN 1700000000000 END FROM generate_series(0, 19999) n;
INSERT INTO tus_uploads (id, account_id, kind, parts, metadata, hash, offset_bytes, dag_size_bytes, created_ms, due_ms)
    SELECT 'upload-' || n, account_of(n), 'plain', '', '', 'sha2-256', 0, 0, 1700000000000, 1700000000000 + n
    FROM generate_series(0, 19999) n;
INSERT INTO tus_progress (upload_id, builder, tail) SELECT 'upload-' || n, '', '' FROM generate_series(0, 19999) n;
INSERT INTO long_upload_segments (upload_id, segment_id)
    SELECT 'upload-' || n, segment_of(n * 5 + i) FROM generate_series(0, 19999) n, generate_series(0, 4) i
    WHERE (n * 5 + i) % 100 > 1;
INSERT INTO repairs (segment_id, urgency_days, queued_ms, not_before_ms, attempts, claimed_until_ms)
    SELECT segment_of(n * 7), n, 1700000000000, 0, 0, 0 FROM generate_series(0, 19999) n;
INSERT INTO unpins (node_id, hash, queued_ms)
    SELECT node_of(n % 500), md5('u' || n::TEXT) || md5(n::TEXT), 1700000000000 FROM generate_series(0, 199999) n;
INSERT INTO events (id, at_ms, kind, node_id, segment_id, details)
    SELECT md5(n::TEXT), 1700000000000 + n * 1000, 'piece_lost', node_of(n % 500), segment_of(n), 'details'
    FROM generate_series(0, 299999) n;
INSERT INTO ledger (node_id, hour_ms, kind, quantity, micros)
    SELECT node_of(n % 500), 1699920000000 + n / 1000 * 3600000, CASE WHEN n / 500 % 2 = 0 THEN 'egress' ELSE 'storage' END, 9, 9
    FROM generate_series(0, 499999) n;
INSERT INTO ledger_carry (node_id, kind, carry) SELECT node_of(n), 'egress', 0 FROM generate_series(0, 499) n;
INSERT INTO settlements (node_id, hour_ms, settled_ms)
    SELECT node_of(n % 500), 1699920000000 + n / 500 * 3600000, 1700000000000 FROM generate_series(0, 249999) n;
