//! `pinstripe admin`: accounts, keys, invitations, events.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::{endpoint::Endpoint, output};

const CALL: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Create an account
    CreateAccount(CreateAccountArgs),
    /// List accounts
    Accounts(PlainArgs),
    /// Change an account's quota
    SetQuota(SetQuotaArgs),
    /// Create an API key; it is shown only now
    CreateKey(CreateKeyArgs),
    /// List the keys of an account
    Keys(AccountArgs),
    /// Revoke an API key
    RevokeKey(KeyArgs),
    /// Create an invitation for the nodes of an operator
    Invite(InviteArgs),
    /// Show what was decided lately
    Events(PlainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlainArgs {
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct CreateAccountArgs {
    /// Name, for people
    name: String,
    /// Bytes that its pins may add up to
    #[arg(long)]
    quota_bytes: Option<u64>,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct SetQuotaArgs {
    /// Id of the account
    account: String,
    /// The same as --quota-bytes
    #[arg(required_unless_present = "quota_bytes", conflicts_with = "quota_bytes")]
    bytes: Option<u64>,
    /// Bytes that its pins may add up to
    #[arg(long)]
    quota_bytes: Option<u64>,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// Id of the account
    account: String,
    /// Name, for people
    #[arg(long, default_value = "")]
    name: String,
    /// Scopes: read, write, delete [default: all]
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    /// When it ends, RFC 3339
    #[arg(long)]
    expires: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    /// Id of the account
    account: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Id of the key: what stands between `pk_` and the dot
    key: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// Who runs the nodes and is paid
    operator: String,
    /// How many nodes may be enrolled with it
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// For how many hours it is good
    #[arg(long, default_value_t = 168)]
    hours: u32,
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(command: AdminCommand) -> anyhow::Result<ExitCode> {
    let (endpoint, method, path, body) = match command {
        AdminCommand::CreateAccount(args) => {
            let body = json!({ "name": args.name, "quota_bytes": args.quota_bytes });
            (args.endpoint, Method::POST, "/v1/admin/accounts".to_string(), Some(body))
        }
        AdminCommand::Accounts(args) => (args.endpoint, Method::GET, "/v1/admin/accounts".to_string(), None),
        AdminCommand::SetQuota(args) => {
            let path = format!("/v1/admin/accounts/{}/quota", args.account);
            let quota = args.quota_bytes.or(args.bytes);
            (args.endpoint, Method::PUT, path, Some(json!({ "quota_bytes": quota })))
        }
        AdminCommand::CreateKey(args) => {
            let scopes = (!args.scopes.is_empty()).then_some(args.scopes);
            let body = json!({ "name": args.name, "scopes": scopes, "expires": args.expires });
            (args.endpoint, Method::POST, format!("/v1/admin/accounts/{}/keys", args.account), Some(body))
        }
        AdminCommand::Keys(args) => {
            (args.endpoint, Method::GET, format!("/v1/admin/accounts/{}/keys", args.account), None)
        }
        AdminCommand::RevokeKey(args) => {
            (args.endpoint, Method::DELETE, format!("/v1/admin/keys/{}", args.key), None)
        }
        AdminCommand::Invite(args) => {
            let body = json!({ "operator": args.operator, "nodes": args.nodes, "hours": args.hours });
            (args.endpoint, Method::POST, "/v1/admin/invites".to_string(), Some(body))
        }
        AdminCommand::Events(args) => (args.endpoint, Method::GET, "/v1/admin/events".to_string(), None),
    };
    call(&endpoint, method, &path, body).await
}

async fn call(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<ExitCode> {
    let (client, token) = (endpoint.client()?, endpoint.admin_token()?);
    let bytes = client.bytes(method, path, Some(&token), body.as_ref(), CALL).await?;
    if !bytes.is_empty() {
        let answer: Value = serde_json::from_slice(&bytes)?;
        output::line(serde_json::to_string_pretty(&answer)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
