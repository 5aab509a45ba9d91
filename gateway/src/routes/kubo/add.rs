//! `add`: files and directories become pins, under the parameters that Kubo has for it.

mod profile;

use axum::{
    extract::{Query, Request, State},
    response::Response,
};
use protocol::time::UnixMillis;
use serde_json::{Value, json};

use self::profile::profile;
use super::{
    answer::{RpcError, lines, lines_as_they_come},
    args::Args,
};
use crate::{
    app::Gateway,
    auth::Scope,
    intake::{Added, Intake, Progress},
    routes::files::refuse_early,
    upload::PinRequest,
};

/// `add`. The answer comes when everything is durable, unless `progress` is asked for: then it begins with the first bytes,
/// and what goes wrong after that can only be said in it.
pub(super) async fn add(
    State(gateway): State<Gateway>,
    Query(args): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, RpcError> {
    let args = Args(args);
    let account = gateway.keys.account(request.headers(), Scope::Write).await?;
    let profile = profile(&args)?;
    refuse_unsupported(&args)?;
    let only_hash = args.flag("only-hash")?.unwrap_or(false);
    let intake = if only_hash {
        Intake::hash_only(&gateway, &account, profile)?
    } else {
        refuse_early(&gateway, &account, request.headers()).await?;
        Intake::begin(&gateway, &account, profile).await?
    };
    let wrap = args.flag("wrap-with-directory")?.or(args.flag("w")?).unwrap_or(false);
    let name = args.get("pin-name").unwrap_or_default().to_string();
    let hold_until = (args.flag("pin")? == Some(false)).then(|| gateway.hold_until());
    let adding = Adding { intake, account, name, wrap, only_hash, hold_until };
    if args.flag("progress")?.unwrap_or(false) {
        return follow(adding, request).await;
    }
    Ok(lines(&adding.take(request).await?))
}

/// One `add` on its way.
struct Adding {
    intake: Intake,
    account: String,
    /// Of the pins.
    name: String,
    wrap: bool,
    only_hash: bool,
    /// Nothing is pinned, and kept only until then.
    hold_until: Option<UnixMillis>,
}

impl Adding {
    /// Takes everything in, and gives a line for each entry when it is durable.
    async fn take(mut self, request: Request) -> Result<Vec<Value>, RpcError> {
        let Added { entries, roots } = self.intake.several(request, self.wrap).await?;
        if !self.only_hash {
            let pins = roots.into_iter().map(|root| root.pin(&self.account, &self.name, None));
            let pins: Vec<PinRequest> = match self.hold_until {
                Some(until) => pins.map(|pin| pin.held(until)).collect(),
                None => pins.collect(),
            };
            for outcome in self.intake.finish(pins).await? {
                outcome?;
            }
        }
        let shown = entries.into_iter().map(|(name, target)| {
            let (hash, size) = (target.cid.as_written().to_string(), target.dag_size_bytes.to_string());
            json!({ "Name": name, "Hash": hash, "Size": size })
        });
        Ok(shown.collect())
    }
}

/// Answers while the upload comes in. It has a task of its own: the client may not read before it has sent everything, and
/// must be heard nevertheless.
async fn follow(mut adding: Adding, request: Request) -> Result<Response, RpcError> {
    lines_as_they_come(async move |lines| {
        let told = lines.clone();
        adding.intake.report(Progress::new(move |name, bytes| {
            // Those that come while the client does not read are left out: the next one says more.
            told.send_if_read(json!({ "Name": name, "Bytes": bytes }));
        }));
        for line in adding.take(request).await? {
            lines.send(line).await;
        }
        Ok(())
    })
    .await
}

/// Arguments that would change the outcome and cannot be heeded are refused, not passed over.
fn refuse_unsupported(args: &Args) -> Result<(), RpcError> {
    for name in ["nocopy", "fscache", "preserve-mode", "preserve-mtime"] {
        if args.flag(name)?.unwrap_or(false) {
            return Err(RpcError::argument(format!("{name} is not supported")));
        }
    }
    for name in ["to-files", "mode", "mtime", "max-directory-links", "max-hamt-fanout"] {
        if args.get(name).is_some_and(|value| !value.is_empty()) {
            return Err(RpcError::argument(format!("{name} is not supported")));
        }
    }
    Ok(())
}
