//! Pins whose bytes are still to be fetched, and the queue of those who fetch them.
//!
//! A pin waits until it is stored ([`crate::Claim::Waiting`]), fails, or is removed. Whoever fetches it holds a claim that he
//! renews; when he dies it passes to another.

use std::collections::BTreeMap;

use content::Cid;
use protocol::time::{UnixMicros, UnixMillis};
use sqlx::QueryBuilder;

use crate::{
    Db, StoreError,
    db::{read, write},
    pins::cid_of,
    rows::{folded, number, push_list, size, text},
};

/// A pin that is asked for and is to be fetched.
#[derive(Clone, Debug)]
pub struct WaitingPin {
    /// Its name in the network, drawn by whoever takes it in.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Root CID.
    pub cid: Cid,
    /// Name given by the account; may be empty.
    pub name: String,
    /// Where its bytes may be had.
    pub origins: Vec<String>,
    /// Its metadata.
    pub meta: BTreeMap<String, String>,
    /// When it was made.
    pub created: UnixMicros,
    /// When it fails at the latest.
    pub deadline: UnixMillis,
}

/// A waiting pin that somebody has claimed to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinJob {
    /// The pin.
    pub pin: String,
    /// Whose it is.
    pub account: String,
    /// Root CID.
    pub cid: Cid,
    /// Name of the pin.
    pub name: String,
    /// Where its bytes may be had.
    pub origins: Vec<String>,
    /// How often it was begun before.
    pub attempts: u64,
    /// When it fails at the latest.
    pub deadline: UnixMillis,
    /// Until when it is claimed; names the claim.
    pub claimed_until: UnixMillis,
}

type JobRow = (String, String, String, bool, String, Option<String>, i64, i64);

/// Jobs that may be begun at `$1`, the longest waiting first. The cross join has SQLite begin with the jobs.
pub(crate) const DUE: &str = "SELECT j.pin_id, p.account_id, p.cid, p.is_v0, p.name, p.origins, j.attempts, \
     j.deadline_ms FROM pin_jobs j CROSS JOIN pins p WHERE p.id = j.pin_id \
     AND j.not_before_ms <= $1 AND j.claimed_until_ms <= $1 ORDER BY j.not_before_ms, j.pin_id LIMIT $2";

impl Db {
    /// Records a pin that is to be fetched, and gives when it was made: a millisecond after the account's newest pin at the
    /// earliest, for clients page by that time alone and many know no microseconds. `None`: the account has `waiting_max`
    /// of them already.
    pub async fn add_waiting_pin(
        &self,
        pin: &WaitingPin,
        waiting_max: u32,
    ) -> Result<Option<UnixMicros>, StoreError> {
        const LOCK: &str = "SELECT id FROM accounts WHERE id = $1 FOR UPDATE";
        const COUNT: &str = "SELECT COUNT(*) FROM pins WHERE account_id = $1 AND state <> 'pinned' \
             AND state IN ('queued', 'pinning')";
        const NEWEST: &str =
            "SELECT created_us FROM pins WHERE account_id = $1 ORDER BY created_us DESC LIMIT 1";
        const INSERT: &str = "INSERT INTO pins (id, account_id, cid, is_v0, name, name_folded, size_bytes, created_us, \
             expires_ms, state, origins) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, NULL, 'queued', $8)";
        const META: &str = "INSERT INTO pin_meta (pin_id, key, value, number) VALUES ($1, $2, $3, $4)";
        const JOB: &str = "INSERT INTO pin_jobs (pin_id, not_before_ms, attempts, deadline_ms, claimed_until_ms) \
             VALUES ($1, $2, 0, $3, 0)";
        let origins = (!pin.origins.is_empty()).then(|| serde_json::json!(pin.origins).to_string());
        let meta: BTreeMap<_, _> =
            pin.meta.iter().map(|(key, value)| (text(key).into_owned(), text(value).into_owned())).collect();
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK).bind(&pin.account).execute(&mut *tx).await?;
            }
            let (waiting,): (i64,) = sqlx::query_as(COUNT).bind(&pin.account).fetch_one(&mut *tx).await?;
            let newest: Option<(i64,)> = sqlx::query_as(NEWEST).bind(&pin.account).fetch_optional(&mut *tx).await?;
            let earliest = newest.map_or(0, |(newest,)| newest.div_euclid(1000).saturating_add(1).saturating_mul(1000));
            let created = pin.created.0.max(earliest);
            let fits = waiting < i64::from(waiting_max);
            if fits {
                let name = text(&pin.name);
                sqlx::query(INSERT)
                    .bind(&pin.id)
                    .bind(&pin.account)
                    .bind(pin.cid.to_string())
                    .bind(pin.cid.as_written().is_v0())
                    .bind(&*name)
                    .bind(folded(&name))
                    .bind(created)
                    .bind(origins.as_deref().map(text))
                    .execute(&mut *tx)
                    .await?;
                for (key, value) in &meta {
                    let add = sqlx::query(META).bind(&pin.id).bind(key).bind(value).bind(number(value));
                    add.execute(&mut *tx).await?;
                }
                sqlx::query(JOB)
                    .bind(&pin.id)
                    .bind(pin.created.millis().0)
                    .bind(pin.deadline.0)
                    .execute(&mut *tx)
                    .await?;
            }
            fits.then_some(UnixMicros(created))
        })
    }

    /// Claims up to `limit` waiting pins until `until`, those first that have waited longest.
    pub async fn claim_pin_jobs(
        &self,
        now: UnixMillis,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<PinJob>, StoreError> {
        if read!(self, pool => {
            sqlx::query(DUE).bind(now.0).bind(1_i64).fetch_optional(pool).await.map(|row| row.is_none())
        })? {
            return Ok(Vec::new());
        }
        let rows: Vec<JobRow> = write!(self, tx => {
            let rows: Vec<JobRow> = {
                let mut query = QueryBuilder::new(DUE);
                // The pin may be in the hands of a commit; only the job is claimed.
                query.push(if self.locks_rows() { " FOR UPDATE OF j SKIP LOCKED" } else { "" });
                query.build_query_as().bind(now.0).bind(i64::from(limit)).fetch_all(&mut *tx).await?
            };
            if !rows.is_empty() {
                let ids: Vec<&String> = rows.iter().map(|row| &row.0).collect();
                let mut query = QueryBuilder::new("UPDATE pin_jobs SET attempts = attempts + 1, claimed_until_ms = ");
                query.push_bind(until.0).push(" WHERE pin_id IN ");
                push_list(&mut query, &ids);
                query.build().execute(&mut *tx).await?;
                let mut query =
                    QueryBuilder::new("UPDATE pins SET state = 'pinning' WHERE state = 'queued' AND id IN ");
                push_list(&mut query, &ids);
                query.build().execute(&mut *tx).await?;
            }
            rows
        })?;
        rows.into_iter()
            .map(|(pin, account, cid, is_v0, name, origins, attempts, deadline)| {
                let origins = match origins {
                    None => Vec::new(),
                    Some(json) => serde_json::from_str(&json)
                        .map_err(|_| StoreError::Malformed { what: "pin origins", value: json })?,
                };
                let cid = cid_of(&cid, is_v0)?;
                let attempts = size("pin attempts", attempts)?;
                let deadline = UnixMillis(deadline);
                Ok(PinJob { pin, account, cid, name, origins, attempts, deadline, claimed_until: until })
            })
            .collect()
    }

    /// Renews a claim until `until` and says how far it is; `false`: the pin is gone, or somebody else has it.
    pub async fn keep_pin_job(
        &self,
        job: &mut PinJob,
        until: UnixMillis,
        info: Option<&str>,
    ) -> Result<bool, StoreError> {
        const KEEP: &str =
            "UPDATE pin_jobs SET claimed_until_ms = $3 WHERE pin_id = $1 AND claimed_until_ms = $2";
        const SAY: &str = "UPDATE pins SET info = $2 WHERE id = $1";
        let kept = write!(self, tx => {
            let kept = sqlx::query(KEEP)
                .bind(&job.pin)
                .bind(job.claimed_until.0)
                .bind(until.0)
                .execute(&mut *tx)
                .await?
                .rows_affected()
                > 0;
            if let Some(info) = info.filter(|_| kept) {
                sqlx::query(SAY).bind(&job.pin).bind(text(info)).execute(&mut *tx).await?;
            }
            kept
        })?;
        if kept {
            job.claimed_until = until;
        }
        Ok(kept)
    }

    /// Gives a claimed pin back, to be tried again from `not_before` on; says why.
    pub async fn put_back_pin_job(
        &self,
        job: &PinJob,
        not_before: UnixMillis,
        info: &str,
    ) -> Result<(), StoreError> {
        const BACK: &str = "UPDATE pin_jobs SET claimed_until_ms = 0, not_before_ms = $3 \
             WHERE pin_id = $1 AND claimed_until_ms = $2";
        const WAIT: &str = "UPDATE pins SET state = 'queued', info = $2 WHERE id = $1 AND state = 'pinning'";
        write!(self, tx => {
            let mine = sqlx::query(BACK)
                .bind(&job.pin)
                .bind(job.claimed_until.0)
                .bind(not_before.0)
                .execute(&mut *tx)
                .await?
                .rows_affected()
                > 0;
            if mine {
                sqlx::query(WAIT).bind(&job.pin).bind(text(info)).execute(&mut *tx).await?;
            }
        })
    }

    /// Gives a claimed pin up for good, and says why.
    pub async fn fail_pin_job(&self, job: &PinJob, info: &str) -> Result<(), StoreError> {
        const DONE: &str = "DELETE FROM pin_jobs WHERE pin_id = $1 AND claimed_until_ms = $2";
        const FAIL: &str = "UPDATE pins SET state = 'failed', info = $2 WHERE id = $1 AND state = 'pinning'";
        write!(self, tx => {
            let mine =
                sqlx::query(DONE).bind(&job.pin).bind(job.claimed_until.0).execute(&mut *tx).await?.rows_affected() > 0;
            if mine {
                sqlx::query(FAIL).bind(&job.pin).bind(text(info)).execute(&mut *tx).await?;
            }
        })
    }

    /// How many pins wait to be fetched, over all accounts.
    pub async fn waiting_pins(&self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM pin_jobs";
        let (count,): (i64,) = read!(self, pool => sqlx::query_as(SQL).fetch_one(pool).await)?;
        size("waiting pins", count)
    }
}
