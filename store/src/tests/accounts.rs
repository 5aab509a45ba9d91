//! Accounts, keys and quotas.

use super::{
    engines::both_engines,
    fixtures::{NOW, account, later},
};
use crate::{Account, Db, NewApiKey};

both_engines!(accounts_are_stored_and_listed, keys_are_stored_listed_and_revoked, a_quota_can_be_changed);

async fn accounts_are_stored_and_listed(db: Db) {
    assert_eq!(db.account("a").await.expect("account"), None);
    account(&db, "b", 2).await;
    account(&db, "a", u64::MAX).await;
    account(&db, "c", 3).await;
    // The engine has no larger number.
    let a = Account {
        id: "a".to_string(),
        name: "a".to_string(),
        quota_bytes: i64::MAX.cast_unsigned(),
        used_bytes: 0,
    };
    assert_eq!(db.account("a").await.expect("account"), Some(a));
    db.create_account("a", "again", 1, NOW).await.expect_err("an account is created once");

    let names = |page: Vec<Account>| page.into_iter().map(|account| account.id).collect::<Vec<_>>();
    assert_eq!(names(db.accounts("", 2).await.expect("page")), ["a", "b"]);
    assert_eq!(names(db.accounts("b", 2).await.expect("page")), ["c"]);
    assert!(db.accounts("c", 2).await.expect("page").is_empty());
}

async fn a_quota_can_be_changed(db: Db) {
    account(&db, "a", 10).await;
    assert!(db.set_quota("a", 20).await.expect("set"));
    assert_eq!(db.account("a").await.expect("account").expect("known").quota_bytes, 20);
    assert!(!db.set_quota("b", 20).await.expect("set"));
}

async fn keys_are_stored_listed_and_revoked(db: Db) {
    let new = |id: &str, account: &str| NewApiKey {
        id: id.to_string(),
        account: account.to_string(),
        name: "laptop".to_string(),
        secret_hash: "ff".to_string(),
        scopes: "read,write".to_string(),
        expires: Some(later(9)),
    };
    db.create_key(&new("k2", "a"), later(1)).await.expect("create");
    db.create_key(&new("k1", "a"), later(2)).await.expect("create");
    db.create_key(&new("k3", "b"), later(3)).await.expect("create");
    db.create_key(&new("k1", "b"), later(3)).await.expect_err("a key is created once");

    let key = db.api_key("k1").await.expect("key").expect("known");
    assert_eq!((key.account.as_str(), key.scopes.as_str(), key.expires), ("a", "read,write", Some(later(9))));
    assert_eq!(key.revoked, None);
    assert_eq!(db.api_key("k9").await.expect("key"), None);

    let listed: Vec<String> =
        db.account_keys("a", 10).await.expect("keys").into_iter().map(|key| key.id).collect();
    assert_eq!(listed, ["k2", "k1"], "in order of creation");
    assert_eq!(db.account_keys("a", 1).await.expect("keys").len(), 1);

    assert!(db.revoke_key("k1", later(5)).await.expect("revoke"));
    assert!(!db.revoke_key("k1", later(6)).await.expect("revoke"), "revoked already");
    assert!(!db.revoke_key("k9", later(6)).await.expect("revoke"));
    assert_eq!(db.api_key("k1").await.expect("key").expect("known").revoked, Some(later(5)));
}
