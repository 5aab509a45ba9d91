//! Storage nodes: enrolment, what they say of themselves, what the monitor saw of them.

use protocol::{ids::NodeId, time::UnixMillis};

use crate::{
    Db, InviteError, StoreError,
    db::{read, write},
    rows::{millis, parse, size, sql},
};

/// A node as it enrols.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// Its public key.
    pub id: NodeId,
    /// Where it is reached.
    pub url: String,
    /// The IP address of that URL: decides which nodes share a network.
    pub address: String,
    /// By `GeoIP`.
    pub region: String,
    /// ISO 3166 code.
    pub country: Option<String>,
    /// Degrees.
    pub latitude: Option<f64>,
    /// Degrees.
    pub longitude: Option<f64>,
    /// Software version.
    pub version: String,
    /// Bytes that it offers.
    pub capacity_bytes: u64,
    /// JSON of its initial reputation.
    pub reputation: String,
    /// Name of its initial standing.
    pub standing: String,
}

/// What a node says of itself every few seconds.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Software version.
    pub version: String,
    /// Bytes that it offers.
    pub capacity_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that it can still take.
    pub free_bytes: u64,
    /// Pieces held.
    pub piece_count: u64,
}

/// A node as it is stored.
#[derive(Clone, Debug)]
pub struct NodeRow {
    /// Its public key.
    pub id: NodeId,
    /// Where it is reached.
    pub url: String,
    /// Who runs it and is paid.
    pub operator: String,
    /// The IP address of the URL.
    pub address: String,
    /// By `GeoIP`.
    pub region: String,
    /// ISO 3166 code.
    pub country: Option<String>,
    /// Degrees.
    pub latitude: Option<f64>,
    /// Degrees.
    pub longitude: Option<f64>,
    /// Software version.
    pub version: String,
    /// Bytes that it offers.
    pub capacity_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that it can still take.
    pub free_bytes: u64,
    /// Pieces held.
    pub piece_count: u64,
    /// When it joined.
    pub enrolled: UnixMillis,
    /// When it last said something.
    pub heartbeat: UnixMillis,
    /// When the monitor last reached it.
    pub contact: UnixMillis,
    /// Since when the monitor cannot reach it.
    pub offline: Option<UnixMillis>,
    /// Name of its standing.
    pub standing: String,
    /// JSON of its reputation.
    pub reputation: String,
    /// Changes with every write of standing or reputation.
    pub revision: i64,
}

const COLUMNS: &str = "SELECT id, url, operator, address, region, country, latitude, longitude, version, \
     capacity_bytes, used_bytes, free_bytes, piece_count, enrolled_ms, heartbeat_ms, contact_ms, offline_ms, \
     standing, reputation, revision FROM nodes";

#[derive(sqlx::FromRow)]
struct RawNode {
    id: String,
    url: String,
    operator: String,
    address: String,
    region: String,
    country: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    version: String,
    capacity_bytes: i64,
    used_bytes: i64,
    free_bytes: i64,
    piece_count: i64,
    enrolled_ms: i64,
    heartbeat_ms: i64,
    contact_ms: i64,
    offline_ms: Option<i64>,
    standing: String,
    reputation: String,
    revision: i64,
}

impl TryFrom<RawNode> for NodeRow {
    type Error = StoreError;

    fn try_from(raw: RawNode) -> Result<Self, StoreError> {
        Ok(Self {
            id: parse("node id", &raw.id)?,
            url: raw.url,
            operator: raw.operator,
            address: raw.address,
            region: raw.region,
            country: raw.country,
            latitude: raw.latitude,
            longitude: raw.longitude,
            version: raw.version,
            capacity_bytes: size("capacity", raw.capacity_bytes)?,
            used_bytes: size("used bytes", raw.used_bytes)?,
            free_bytes: size("free bytes", raw.free_bytes)?,
            piece_count: size("piece count", raw.piece_count)?,
            enrolled: UnixMillis(raw.enrolled_ms),
            heartbeat: UnixMillis(raw.heartbeat_ms),
            contact: UnixMillis(raw.contact_ms),
            offline: millis(raw.offline_ms),
            standing: raw.standing,
            reputation: raw.reputation,
            revision: raw.revision,
        })
    }
}

const USE_INVITE: &str = "UPDATE invites SET nodes_left = nodes_left - 1 \
     WHERE token_hash = $1 AND expires_ms > $2 AND nodes_left > 0 RETURNING operator";
const RETURN_INVITE: &str = "UPDATE invites SET nodes_left = nodes_left + 1 WHERE token_hash = $1";
const INSERT_NODE: &str = "INSERT INTO nodes (id, url, operator, address, region, country, latitude, longitude, \
     version, capacity_bytes, used_bytes, free_bytes, piece_count, enrolled_ms, heartbeat_ms, contact_ms, \
     standing, reputation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $10, 0, $11, $11, $11, $12, $13) \
     ON CONFLICT (id) DO NOTHING";
const MOVE_NODE: &str = "UPDATE nodes SET url = $2, address = $3, region = $4, country = $5, latitude = $6, \
     longitude = $7, version = $8, capacity_bytes = $9, heartbeat_ms = $10 WHERE id = $1";

impl Db {
    /// Enrols a node with an invitation, or brings a known node's address up to date, for which none is needed:
    /// the caller has checked that the request is signed by the node's key.
    pub async fn enrol(
        &self,
        node: &NewNode,
        invite_hash: Option<&str>,
        now: UnixMillis,
    ) -> Result<Result<(), InviteError>, StoreError> {
        let id = node.id.to_string();
        write!(self, tx => {
            let moved = sqlx::query(MOVE_NODE)
                .bind(&id)
                .bind(&node.url)
                .bind(&node.address)
                .bind(&node.region)
                .bind(&node.country)
                .bind(node.latitude)
                .bind(node.longitude)
                .bind(&node.version)
                .bind(sql(node.capacity_bytes))
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            let operator: Option<(String,)> = match invite_hash {
                Some(hash) if moved.rows_affected() == 0 => {
                    sqlx::query_as(USE_INVITE).bind(hash).bind(now.0).fetch_optional(&mut *tx).await?
                }
                _ => None,
            };
            match (moved.rows_affected(), operator) {
                (1.., _) => Ok(()),
                (0, None) => Err(InviteError::Refused),
                (0, Some((operator,))) => {
                    let inserted = sqlx::query(INSERT_NODE)
                        .bind(&id)
                        .bind(&node.url)
                        .bind(operator)
                        .bind(&node.address)
                        .bind(&node.region)
                        .bind(&node.country)
                        .bind(node.latitude)
                        .bind(node.longitude)
                        .bind(&node.version)
                        .bind(sql(node.capacity_bytes))
                        .bind(now.0)
                        .bind(&node.standing)
                        .bind(&node.reputation)
                        .execute(&mut *tx)
                        .await?;
                    if inserted.rows_affected() == 0 {
                        // The same node enrolled at the same time; one place of the invitation is enough.
                        sqlx::query(RETURN_INVITE).bind(invite_hash).execute(&mut *tx).await?;
                    }
                    Ok(())
                }
            }
        })
    }

    /// Whether [`Db::enrol`] would admit this node: it is known, or its invitation is good.
    pub async fn may_enrol(
        &self,
        node: NodeId,
        invite_hash: Option<&str>,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        const KNOWN: &str = "SELECT 1 FROM nodes WHERE id = $1";
        const GOOD: &str =
            "SELECT 1 FROM invites WHERE token_hash = $1 AND expires_ms > $2 AND nodes_left > 0";
        let known: Option<(i32,)> =
            read!(self, pool => sqlx::query_as(KNOWN).bind(node.to_string()).fetch_optional(pool).await)?;
        if known.is_some() {
            return Ok(true);
        }
        let Some(hash) = invite_hash else { return Ok(false) };
        let good: Option<(i32,)> =
            read!(self, pool => sqlx::query_as(GOOD).bind(hash).bind(now.0).fetch_optional(pool).await)?;
        Ok(good.is_some())
    }

    /// Records a heartbeat; `false` when the node is not enrolled.
    pub async fn heartbeat(&self, id: NodeId, beat: &Heartbeat, now: UnixMillis) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE nodes SET version = $2, capacity_bytes = $3, used_bytes = $4, free_bytes = $5, \
             piece_count = $6, heartbeat_ms = $7 WHERE id = $1";
        write!(self, tx => {
            sqlx::query(SQL)
                .bind(id.to_string())
                .bind(&beat.version)
                .bind(sql(beat.capacity_bytes))
                .bind(sql(beat.used_bytes))
                .bind(sql(beat.free_bytes))
                .bind(sql(beat.piece_count))
                .bind(now.0)
                .execute(&mut *tx)
                .await?
                .rows_affected() > 0
        })
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let rows: Vec<RawNode> = read!(self, pool => {
            sqlx::QueryBuilder::new(COLUMNS).push(" ORDER BY id").build_query_as().fetch_all(pool).await
        })?;
        rows.into_iter().map(NodeRow::try_from).collect()
    }

    /// One node.
    pub async fn node(&self, id: NodeId) -> Result<Option<NodeRow>, StoreError> {
        let row: Option<RawNode> = read!(self, pool => {
            sqlx::QueryBuilder::new(COLUMNS)
                .push(" WHERE id = ")
                .push_bind(id.to_string())
                .build_query_as()
                .fetch_optional(pool)
                .await
        })?;
        row.map(NodeRow::try_from).transpose()
    }

    /// Records whether the monitor reached a node. An offline node keeps the time since when it is.
    pub async fn record_contact(&self, id: NodeId, reached: bool, now: UnixMillis) -> Result<(), StoreError> {
        const REACHED: &str = "UPDATE nodes SET contact_ms = $2, offline_ms = NULL WHERE id = $1";
        const MISSED: &str = "UPDATE nodes SET offline_ms = COALESCE(offline_ms, $2) WHERE id = $1";
        let sql = if reached { REACHED } else { MISSED };
        write!(self, tx => {
            sqlx::query(sql).bind(id.to_string()).bind(now.0).execute(&mut *tx).await?;
        })
    }

    /// Replaces a node's reputation if nobody else did since `revision` was read; `false` otherwise.
    pub async fn set_reputation(
        &self,
        id: NodeId,
        revision: i64,
        standing: &str,
        reputation: &str,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE nodes SET standing = $3, reputation = $4, revision = revision + 1 \
             WHERE id = $1 AND revision = $2";
        write!(self, tx => {
            sqlx::query(SQL)
                .bind(id.to_string())
                .bind(revision)
                .bind(standing)
                .bind(reputation)
                .execute(&mut *tx)
                .await?
                .rows_affected() > 0
        })
    }
}
