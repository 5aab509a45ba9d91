//! Writing what a commit decided, a few statements of many rows each.

/// Inserts segments, each in the state that `$state` gives, with their pieces.
macro_rules! insert_segment_rows {
    ($tx:ident, $segments:expr, $state:expr, $now:expr, $due:expr) => {
        for part in $crate::rows::runs($segments) {
            let mut query = sqlx::QueryBuilder::new(
                "INSERT INTO segments (id, codec, needed, total, length_bytes, piece_bytes, state, created_ms, due_ms) ",
            );
            query.push_values(part, |mut row, segment: &$crate::NewSegment| {
                let state: $crate::SegmentState = $state(segment);
                row.push_bind(segment.id.to_string())
                    .push_bind(segment.scheme.codec().as_str())
                    .push_bind(i64::from(segment.scheme.needed()))
                    .push_bind(i64::from(segment.scheme.total()))
                    .push_bind($crate::rows::sql(segment.length_bytes))
                    .push_bind($crate::rows::sql(segment.scheme.layout(segment.length_bytes).piece_len()))
                    .push_bind(state.as_str())
                    .push_bind($now.0)
                    .push_bind($due.0);
            });
            query.build().execute(&mut *$tx).await?;
        }
        let pieces: Vec<(protocol::ids::SegmentId, usize, $crate::NewPiece)> = $segments
            .iter()
            .flat_map(|segment| segment.pieces.iter().enumerate().map(|(index, piece)| (segment.id, index, *piece)))
            .collect();
        for part in $crate::rows::runs(&pieces) {
            let mut query = sqlx::QueryBuilder::new(
                "INSERT INTO pieces (segment_id, piece_index, hash, node_id, stored_ms, verified_ms) ",
            );
            query.push_values(part, |mut row, (segment, index, piece)| {
                row.push_bind(segment.to_string())
                    .push_bind($crate::rows::sql(*index as u64))
                    .push_bind(piece.hash.to_string())
                    .push_bind(piece.node.map(|node| node.to_string()))
                    .push_bind($now.0)
                    .push_bind($now.0);
            });
            query.build().execute(&mut *$tx).await?;
        }
    };
}

/// Inserts the new segments with their pieces, and makes every segment live that an accepted upload needs.
macro_rules! insert_segments {
    ($tx:ident, $segments:expr, $standing:expr, $known:expr, $now:expr, $lease:expr) => {
        let needed: BTreeSet<SegmentId> =
            $standing.iter().flat_map(|draft| draft.upload.segments.iter().copied()).collect();
        let state = |segment: &NewSegment| {
            if needed.contains(&segment.id) { SegmentState::Live } else { SegmentState::Pending }
        };
        insert_segment_rows!($tx, $segments, state, $now, $lease);

        let brought: HashSet<SegmentId> = $segments.iter().map(|segment| segment.id).collect();
        let woken: Vec<SegmentId> = needed
            .into_iter()
            .filter(|id| !brought.contains(id) && $known.segments.get(id) != Some(&SegmentState::Live))
            .collect();
        for part in woken.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new("UPDATE segments SET state = 'live' WHERE id IN ");
            push_list(&mut query, part);
            query.build().execute(&mut *$tx).await?;
        }
    };
}

/// Inserts new pins and charges their accounts; brings pins that stood already up to date.
macro_rules! insert_pins {
    ($tx:ident, $drafts:expr, $outcomes:expr, $changes:ident) => {
        const CHARGE: &str = "UPDATE accounts SET used_bytes = used_bytes + $2 WHERE id = $1";
        // An upload without a name leaves the pin's name alone. The later end wins, and none is the latest: whoever pinned
        // a file for good does not lose it by uploading it once more for a day.
        const TOUCH: &str = "UPDATE pins SET name = CASE WHEN $3 = '' THEN name ELSE $3 END, \
             name_folded = CASE WHEN $3 = '' THEN name_folded ELSE $5 END, expires_ms = CASE \
             WHEN $4 IS NULL OR expires_ms IS NULL THEN NULL WHEN expires_ms < $4 THEN $4 ELSE expires_ms END \
             WHERE account_id = $1 AND id = $2";
        let with = |wanted| {
            let is = move |outcome: &Outcome| outcome.committed == wanted;
            $drafts.iter().zip(&$outcomes).filter(move |(_, outcome)| is(outcome))
        };
        // What waited has its row.
        const FULFIL: &str =
            "UPDATE pins SET state = 'pinned', size_bytes = $2, info = NULL, expires_ms = NULL WHERE id = $1";
        const NO_JOB: &str = "DELETE FROM pin_jobs WHERE pin_id = $1";
        let (waiting, created): (Vec<_>, Vec<_>) =
            with(Committed::Created).partition(|(draft, _)| draft.upload.claim == Claim::Waiting);
        let mut rows: Vec<NewPin<'_>> = created.iter().map(|(draft, outcome)| NewPin::of(draft, outcome)).collect();
        let standing = $drafts.iter().zip(&$outcomes).filter(|(_, outcome)| outcome.has_beside);
        rows.extend(standing.clone().filter_map(|(draft, outcome)| NewPin::beside(draft, outcome)));
        for part in runs(&rows) {
            let mut query = QueryBuilder::new(
                "INSERT INTO pins (id, account_id, cid, is_v0, name, name_folded, size_bytes, created_us, expires_ms, state) ",
            );
            query.push_values(part, |mut row, pin: &NewPin<'_>| {
                let upload = pin.draft.upload;
                row.push_bind(pin.id.to_string())
                    .push_bind(upload.account.clone())
                    .push_bind(pin.draft.root.clone())
                    .push_bind(upload.root.as_written().is_v0())
                    .push_bind(text(&upload.name))
                    .push_bind(folded(&text(&upload.name)))
                    .push_bind(sql(pin.size_bytes))
                    .push_bind(pin.created.0)
                    .push_bind(pin.expires.map(|expires| expires.0))
                    .push_bind(pin.state.as_str());
            });
            query.build().execute(&mut *$tx).await?;
        }
        for (draft, outcome) in waiting {
            let id = &draft.upload.pin;
            sqlx::query(FULFIL).bind(id).bind(sql(outcome.size_bytes)).execute(&mut *$tx).await?;
            sqlx::query(NO_JOB).bind(id).execute(&mut *$tx).await?;
        }
        let holds: Vec<&String> = $outcomes.iter().filter_map(|outcome| Some(&outcome.instead_of.as_ref()?.0)).collect();
        for part in holds.chunks(ROWS_PER_STATEMENT) {
            for delete in [
                "DELETE FROM pin_meta WHERE pin_id IN ",
                "DELETE FROM pin_jobs WHERE pin_id IN ",
                "DELETE FROM pins WHERE id IN ",
            ] {
                let mut query = QueryBuilder::new(delete);
                push_list(&mut query, part);
                query.build().execute(&mut *$tx).await?;
            }
        }
        // Without an end it goes with the last pin.
        const STAY: &str = "UPDATE pins SET expires_ms = $3 WHERE account_id = $1 AND cid = $2 AND state = 'held' \
             AND id LIKE 'beside-%' AND ($3 IS NULL OR expires_ms < $3) RETURNING id";
        for (draft, _) in $drafts.iter().zip(&$outcomes).filter(|(_, outcome)| outcome.keeps_beside) {
            let until = draft.upload.expires.filter(|_| draft.upload.claim == Claim::Hold);
            let stay: Vec<(String,)> = sqlx::query_as(STAY)
                .bind(&draft.upload.account)
                .bind(&draft.root)
                .bind(until.map(|until| until.0))
                .fetch_all(&mut *$tx)
                .await?;
            let is = Change::Is(Some(until.map_or(0, |until| until.0)));
            $changes.extend(stay.into_iter().map(|(id,)| (is, id, draft.upload.account.clone(), draft.root.clone())));
        }
        let mut charges: BTreeMap<&str, i64> = BTreeMap::new();
        for (draft, outcome) in $drafts.iter().zip(&$outcomes) {
            let given_back = outcome.instead_of.as_ref().map_or(0, |(_, bytes)| *bytes);
            *charges.entry(&draft.upload.account).or_default() += sql(outcome.charged_bytes) - sql(given_back);
        }
        for (account, bytes) in charges.into_iter().filter(|(_, bytes)| *bytes != 0) {
            sqlx::query(CHARGE).bind(account).bind(bytes).execute(&mut *$tx).await?;
        }
        for (draft, outcome) in with(Committed::AlreadyPinned) {
            sqlx::query(TOUCH)
                .bind(&draft.upload.account)
                .bind(&outcome.pin)
                .bind(text(&draft.upload.name))
                .bind(draft.upload.expires.map(|expires| expires.0))
                .bind(folded(&text(&draft.upload.name)))
                .execute(&mut *$tx)
                .await?;
        }
    };
}

/// Counts the new pins of each root, whose row the first one makes, and records what keeps their segments alive.
macro_rules! insert_roots {
    ($tx:ident, $drafts:expr, $outcomes:expr, $standing:expr, $now:expr) => {
        let mut pinned: BTreeMap<&str, (&UploadMetadata, i64)> = BTreeMap::new();
        for (draft, outcome) in $drafts.iter().zip(&$outcomes) {
            let made = i64::from(outcome.committed == Committed::Created) + i64::from(outcome.has_beside);
            let rows = made - i64::from(outcome.instead_of.is_some());
            if made > 0 {
                pinned.entry(draft.root.as_str()).or_insert((draft.upload, 0)).1 += rows;
            }
        }
        for part in runs(&pinned.into_iter().collect::<Vec<_>>()) {
            let mut query =
                QueryBuilder::new("INSERT INTO roots (cid, size_bytes, dag_size_bytes, created_ms, pins) ");
            query.push_values(part, |mut row, (root, (upload, pins))| {
                row.push_bind(root.to_string())
                    .push_bind(sql(upload.size_bytes))
                    .push_bind(sql(upload.dag_size_bytes))
                    .push_bind($now.0)
                    .push_bind(*pins);
            });
            query.push(" ON CONFLICT (cid) DO UPDATE SET pins = roots.pins + excluded.pins");
            query.build().execute(&mut *$tx).await?;
        }
        let links: BTreeSet<(&str, SegmentId)> = $standing
            .iter()
            .flat_map(|draft| draft.upload.segments.iter().map(|segment| (draft.root.as_str(), *segment)))
            .collect();
        for part in runs(&links.into_iter().collect::<Vec<_>>()) {
            let mut query = QueryBuilder::new("INSERT INTO root_segments (cid, segment_id) ");
            query.push_values(part, |mut row, (root, segment)| {
                row.push_bind(root.to_string()).push_bind(segment.to_string());
            });
            query.push(" ON CONFLICT (cid, segment_id) DO NOTHING");
            query.build().execute(&mut *$tx).await?;
        }
    };
}

/// Records blocks of long uploads that are still in progress.
macro_rules! insert_parts {
    ($tx:ident, $parts:expr, $lease:expr) => {
        const NAME: &str = "INSERT INTO long_uploads (id, due_ms) VALUES ($1, $2)";
        for part in $parts {
            if part.is_first {
                sqlx::query(NAME).bind(&part.upload).bind($lease.0).execute(&mut *$tx).await?;
            }
            for blocks in runs(&part.blocks) {
                let mut query = QueryBuilder::new(
                    "INSERT INTO blocks (cid, segment_id, offset_bytes, length_bytes, upload_id) ",
                );
                query.push_values(blocks, |mut row, block: &BlockAt| {
                    row.push_bind(block.cid.to_string())
                        .push_bind(block.segment.to_string())
                        .push_bind(sql(block.offset_bytes))
                        .push_bind(sql(block.length_bytes))
                        .push_bind(part.upload.clone());
                });
                // When two long uploads brought the block at the same time, neither may take it from the other by failing.
                query.push(
                    " ON CONFLICT (cid, segment_id) DO UPDATE SET upload_id = \
                     CASE WHEN blocks.upload_id = excluded.upload_id THEN blocks.upload_id ELSE NULL END",
                );
                query.build().execute(&mut *$tx).await?;
            }
        }
    };
}

/// Inserts the blocks that were stored for accepted uploads, and lets those be seen that were recorded before.
macro_rules! insert_blocks {
    ($tx:ident, $standing:expr, $now:expr) => {
        const FINISH: [&str; 2] = [
            "UPDATE long_uploads SET finished_ms = $2 WHERE id = $1",
            "UPDATE tus_uploads SET finished_ms = $2 WHERE id = $1",
        ];
        for upload in $standing.iter().filter_map(|draft| draft.upload.recorded.as_ref()) {
            for sql in FINISH {
                sqlx::query(sql).bind(upload).bind($now.0).execute(&mut *$tx).await?;
            }
        }
        // Two uploads may have brought a block at the same time; one statement takes each row once.
        let mut brought = HashSet::new();
        let blocks: Vec<&BlockAt> = $standing
            .iter()
            .flat_map(|draft| draft.upload.blocks.iter())
            .filter(|block| brought.insert((&block.cid, block.segment)))
            .collect();
        for part in runs(&blocks) {
            let mut query =
                QueryBuilder::new("INSERT INTO blocks (cid, segment_id, offset_bytes, length_bytes) ");
            query.push_values(part, |mut row, block: &&BlockAt| {
                row.push_bind(block.cid.to_string())
                    .push_bind(block.segment.to_string())
                    .push_bind(sql(block.offset_bytes))
                    .push_bind(sql(block.length_bytes));
            });
            query.push(" ON CONFLICT (cid, segment_id) DO UPDATE SET upload_id = NULL");
            query.build().execute(&mut *$tx).await?;
        }
    };
}

/// Lets go of lost segments that roots of accepted uploads relied on before: all their blocks lie elsewhere now.
macro_rules! release_lost {
    ($db:expr, $tx:ident, $standing:expr, $old_roots:expr, $lease:expr) => {
        let again: BTreeSet<&str> = $standing
            .iter()
            .filter(|draft| $old_roots.contains(&draft.root))
            .map(|draft| draft.root.as_str())
            .collect();
        for roots in again.into_iter().collect::<Vec<_>>().chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new(
                "SELECT id FROM segments WHERE state = 'lost' AND id IN \
                 (SELECT segment_id FROM root_segments WHERE cid IN ",
            );
            push_list(&mut query, roots);
            query.push(") ORDER BY id").push($db.for_update());
            let lost: Vec<(String,)> = query.build_query_as().fetch_all(&mut *$tx).await?;
            let lost: Vec<String> = lost.into_iter().map(|(id,)| id).collect();
            for segments in lost.chunks(ROWS_PER_STATEMENT) {
                let mut query = QueryBuilder::new("DELETE FROM root_segments WHERE segment_id IN ");
                push_list(&mut query, segments);
                query.push(" AND cid IN ");
                push_list(&mut query, roots);
                query.build().execute(&mut *$tx).await?;
                let mut query = QueryBuilder::new("UPDATE segments SET due_ms = ");
                query.push_bind($lease.0).push(" WHERE id IN ");
                push_list(&mut query, segments);
                query
                    .push(" AND NOT EXISTS (SELECT 1 FROM root_segments o WHERE o.segment_id = segments.id)");
                query.build().execute(&mut *$tx).await?;
            }
        }
    };
}

pub(crate) use insert_segment_rows;
pub(super) use {insert_blocks, insert_parts, insert_pins, insert_roots, insert_segments, release_lost};
