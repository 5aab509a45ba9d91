//! Locking and reading what decides on a commit, in the order of locks that `db` sets.

/// Locks accounts, roots and segments of a commit; gives what is known of them and which of the roots exist.
///
/// Pins need no lock of their own: whoever makes or removes one holds its account.
macro_rules! lock_known {
    ($db:expr, $tx:ident, $segments:expr, $drafts:expr) => {{
        let mut known = Known::default();
        let accounts: BTreeSet<&str> = $drafts.iter().map(|draft| draft.upload.account.as_str()).collect();
        for part in accounts.into_iter().collect::<Vec<_>>().chunks(ROWS_PER_STATEMENT) {
            let mut query =
                QueryBuilder::new("SELECT id, quota_bytes, used_bytes FROM accounts WHERE id IN ");
            push_list(&mut query, part);
            query.push(" ORDER BY id").push($db.for_update());
            let rows: Vec<(String, i64, i64)> = query.build_query_as().fetch_all(&mut *$tx).await?;
            for (id, quota, used) in rows {
                let free_bytes = u64::try_from(quota.saturating_sub(used)).unwrap_or(0);
                known.accounts.insert(id, AccountState { free_bytes, ..AccountState::default() });
            }
        }

        let roots: BTreeSet<&str> = $drafts.iter().map(|draft| draft.root.as_str()).collect();
        let mut old_roots: HashSet<String> = HashSet::new();
        for part in roots.into_iter().collect::<Vec<_>>().chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new("SELECT cid FROM roots WHERE cid IN ");
            push_list(&mut query, part);
            query.push(" ORDER BY cid").push($db.for_update());
            let rows: Vec<(String,)> = query.build_query_as().fetch_all(&mut *$tx).await?;
            old_roots.extend(rows.into_iter().map(|(cid,)| cid));
        }

        // Only this transaction knows the segments it brings.
        known.segments = $segments.iter().map(|segment| (segment.id, SegmentState::Pending)).collect();
        let old: BTreeSet<SegmentId> = $drafts
            .iter()
            .flat_map(|draft| draft.upload.segments.iter().copied())
            .filter(|id| !known.segments.contains_key(id))
            .collect();
        for part in old.into_iter().collect::<Vec<_>>().chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new("SELECT id, state FROM segments WHERE id IN ");
            push_list(&mut query, part);
            query.push(" ORDER BY id").push($db.for_update());
            let rows: Vec<(String, String)> = query.build_query_as().fetch_all(&mut *$tx).await?;
            for (id, state) in rows {
                known.segments.insert(parse("segment id", &id)?, parse("segment state", &state)?);
            }
        }

        let long: BTreeSet<&String> =
            $drafts.iter().filter_map(|draft| draft.upload.recorded.as_ref()).collect();
        for part in long.into_iter().collect::<Vec<_>>().chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new("SELECT id FROM long_uploads WHERE due_ms > 0 AND id IN ");
            push_list(&mut query, part);
            query.push(" ORDER BY id").push($db.for_update());
            let rows: Vec<(String,)> = query.build_query_as().fetch_all(&mut *$tx).await?;
            known.long_uploads.extend(rows.into_iter().map(|(id,)| id));
        }

        // A pin has a root, so new roots have none.
        let pinned: Vec<&Draft<'_>> =
            $drafts.iter().filter(|draft| old_roots.contains(&draft.root)).collect();
        for part in runs(&pinned) {
            let mut query = QueryBuilder::new(
                "SELECT account_id, cid, id, state, size_bytes FROM pins \
                 WHERE state IN ('pinned', 'held') AND id NOT LIKE 'beside-%' AND (account_id, cid) IN (",
            );
            query.push_values(part, |mut row, draft| {
                row.push_bind(draft.upload.account.clone()).push_bind(draft.root.clone());
            });
            query.push(") ORDER BY created_us, id");
            let rows: Vec<(String, String, String, String, i64)> =
                query.build_query_as().fetch_all(&mut *$tx).await?;
            for (account, root, pin, state, size_bytes) in rows {
                if let Some(account) = known.accounts.get_mut(&account) {
                    let held = state == PinState::Held.as_str();
                    let kind = if held { &mut account.holds } else { &mut account.pins };
                    kind.insert(root, (pin, size("pin size", size_bytes)?));
                }
            }
        }

        // Rows that uploads are for, or would make again.
        let named: Vec<&String> = $drafts
            .iter()
            .flat_map(|draft| {
                let waiting = (draft.upload.claim == Claim::Waiting).then_some(&draft.upload.pin);
                waiting.into_iter().chain(draft.upload.beside.as_ref().map(|beside| &beside.id))
            })
            .collect();
        for part in named.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new(
                "SELECT id, account_id, cid, state FROM pins WHERE state IN ('queued', 'pinning', 'held') AND id IN ",
            );
            push_list(&mut query, part);
            let rows: Vec<(String, String, String, String)> = query.build_query_as().fetch_all(&mut *$tx).await?;
            for (id, account, root, state) in rows {
                let is_of = |draft: &Draft<'_>| draft.upload.account == account && draft.root == root;
                if state == PinState::Held.as_str() {
                    known.beside.insert(id);
                } else if $drafts.iter().any(|draft| draft.upload.pin == id && is_of(draft)) {
                    known.waiting.insert(id);
                }
            }
        }
        (known, old_roots)
    }};
}

pub(super) use lock_known;
