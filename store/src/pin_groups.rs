//! Groups into which accounts sort their pins. A group never keeps anything: pins outlive it, and it outlives them.

use protocol::time::UnixMicros;
use sqlx::QueryBuilder;

use crate::{
    Db, PinCursor, StoreError,
    db::{read, write},
    rows::text,
};

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinGroup {
    /// Its name in the network, drawn by whoever makes it.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Name given by the account.
    pub name: String,
    /// What the account said of it. Nothing here depends on it.
    pub is_public: bool,
    /// When it was made.
    pub created: UnixMicros,
}

/// Which groups are listed: those that pass every test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// This is part of their name.
    pub name: Option<String>,
    /// Public, or not.
    pub is_public: Option<bool>,
    /// Made before this one.
    pub cursor: Option<PinCursor>,
}

type GroupRow = (String, String, String, bool, i64);

fn group((id, account, name, is_public, created): GroupRow) -> PinGroup {
    PinGroup { id, account, name, is_public, created: UnixMicros(created) }
}

const SELECT: &str = "SELECT id, account_id, name, is_public, created_us FROM pin_groups WHERE account_id = ";

impl Db {
    /// Makes a group; `false`: the account has `groups_max` already.
    pub async fn create_group(&self, group: &PinGroup, groups_max: u32) -> Result<bool, StoreError> {
        const LOCK: &str = "SELECT id FROM accounts WHERE id = $1 FOR UPDATE";
        const COUNT: &str = "SELECT COUNT(*) FROM pin_groups WHERE account_id = $1";
        const INSERT: &str = "INSERT INTO pin_groups (id, account_id, name, is_public, created_us) \
             VALUES ($1, $2, $3, $4, $5)";
        write!(self, tx => {
            if self.locks_rows() {
                sqlx::query(LOCK).bind(&group.account).execute(&mut *tx).await?;
            }
            let (count,): (i64,) = sqlx::query_as(COUNT).bind(&group.account).fetch_one(&mut *tx).await?;
            let fits = count < i64::from(groups_max);
            if fits {
                sqlx::query(INSERT)
                    .bind(&group.id)
                    .bind(&group.account)
                    .bind(text(&group.name))
                    .bind(group.is_public)
                    .bind(group.created.0)
                    .execute(&mut *tx)
                    .await?;
            }
            fits
        })
    }

    /// A group of an account.
    pub async fn group(&self, account: &str, id: &str) -> Result<Option<PinGroup>, StoreError> {
        let row: Option<GroupRow> = read!(self, pool => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(account.to_string()).push(" AND id = ").push_bind(id.to_string());
            query.build_query_as().fetch_optional(pool).await
        })?;
        Ok(row.map(group))
    }

    /// The newest `limit` of an account's groups that pass.
    pub async fn groups(
        &self,
        account: &str,
        filter: &GroupFilter,
        limit: u32,
    ) -> Result<Vec<PinGroup>, StoreError> {
        let rows: Vec<GroupRow> = read!(self, pool => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(account.to_string());
            if let Some(name) = filter.name.as_deref().map(text).filter(|name| !name.is_empty()) {
                query.push(" AND replace(name, ").push_bind(name.into_owned()).push(", '') <> name");
            }
            if let Some(is_public) = filter.is_public {
                query.push(" AND is_public = ").push_bind(is_public);
            }
            if let Some((created, id)) = &filter.cursor {
                query.push(" AND (created_us, id) < (").push_bind(created.0);
                query.push(", ").push_bind(id.clone()).push(")");
            }
            query.push(" ORDER BY created_us DESC, id DESC LIMIT ").push_bind(i64::from(limit));
            query.build_query_as().fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(group).collect())
    }

    /// Changes what is given of a group; `false`: there is no such group.
    pub async fn change_group(
        &self,
        account: &str,
        id: &str,
        name: Option<&str>,
        is_public: Option<bool>,
    ) -> Result<bool, StoreError> {
        const CHANGE: &str = "UPDATE pin_groups SET name = COALESCE($3, name), \
             is_public = COALESCE($4, is_public) WHERE account_id = $1 AND id = $2";
        write!(self, tx => {
            let change = sqlx::query(CHANGE).bind(account).bind(id).bind(name.map(text)).bind(is_public);
            change.execute(&mut *tx).await?.rows_affected() > 0
        })
    }

    /// Removes a group, but none of its pins; `false`: there is no such group.
    pub async fn remove_group(&self, account: &str, id: &str) -> Result<bool, StoreError> {
        const REMOVE: &str = "DELETE FROM pin_groups WHERE account_id = $1 AND id = $2";
        write!(self, tx => {
            let removed =
                sqlx::query(REMOVE).bind(account).bind(id).execute(&mut *tx).await?.rows_affected() > 0;
            if removed {
                sqlx::query(LEAVE).bind(id).execute(&mut *tx).await?;
            }
            removed
        })
    }
}

/// Takes all pins out of group `$1`.
pub(crate) const LEAVE: &str = "UPDATE pins SET group_id = NULL WHERE group_id = $1";
