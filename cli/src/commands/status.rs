//! `pinstripe status`: how a network is, for people. Asks a gateway; of a network that `pinstripe dev` runs here, all gateways and
//! monitors.

mod report;

use std::{process::ExitCode, time::Duration};

use clap::Args;
use client::{CallError, GatewayClient, SendError, Timeouts, Transport};
use http::{Method, StatusCode};
use protocol::{
    api::NodeList,
    status::{NetworkStatus, RegionStatus},
};
use serde::Deserialize;
use service::clock::Clock;

use self::report::{GatewayReport, MonitorReport, Report};
use crate::{endpoint::Endpoint, output};

const CALL: Duration = Duration::from_secs(10);
/// Somebody should look.
const NEEDS_SOMEBODY: u8 = 1;
/// Nothing could be found out.
const COULD_NOT_ASK: u8 = 2;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// What of a monitor's `/v1/status` matters here.
#[derive(Debug, Deserialize)]
struct MonitorStatus {
    breaker: Option<String>,
}

pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let report = match ask(&args.endpoint).await {
        Ok(report) => report,
        Err(error) => {
            output::complain(format_args!("pinstripe: {error:#}"));
            return Ok(ExitCode::from(COULD_NOT_ASK));
        }
    };
    if args.json {
        output::line(serde_json::to_string_pretty(&report)?)?;
    } else {
        for line in report.lines() {
            output::line(line)?;
        }
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NEEDS_SOMEBODY) })
}

/// Asks everybody; an error when the first gateway cannot be asked.
async fn ask(endpoint: &Endpoint) -> anyhow::Result<Report> {
    let (gateways, monitors) = endpoint.servers()?;
    let transport = Transport::http(Timeouts::default())?;
    let client = |url: &str| GatewayClient::new(transport.clone(), url, Clock::System);
    let mut report = Report::default();
    for url in &gateways {
        let ready = client(url).bytes(Method::GET, "/readyz", None, None, CALL).await;
        let is_ready = ready.is_ok();
        let not_ready = match ready {
            // An address for the public, or for the admin API alone, does not say it here.
            Ok(_) | Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => None,
            Err(CallError::Refused { details, .. }) => Some(details),
            Err(error @ CallError::Send(SendError::Connect(_))) if gateways.len() == 1 => {
                return Err(anyhow::anyhow!("{url}: {error}"));
            }
            // It may wait for its database, which it says below; and of one among several the others can still tell.
            Err(error) => Some(error.to_string()),
        };
        report.gateways.push(GatewayReport { url: url.clone(), is_ready, not_ready });
    }
    for url in monitors {
        let answer = client(&url).json::<MonitorStatus>(Method::GET, "/v1/status", None, None, CALL).await;
        let (breaker, error) = match answer {
            Ok(status) => (status.breaker, None),
            Err(error) => (None, Some(error.to_string())),
        };
        report.monitors.push(MonitorReport { url, breaker, error });
    }
    let mut last = None;
    for (at, url) in gateways.iter().enumerate() {
        match network(endpoint, &client(url), &mut report).await {
            Ok(()) => {
                let asked = &mut report.gateways[at];
                if let Some(network) = &report.network {
                    asked.not_ready = asked.not_ready.take().or_else(|| network.not_ready.clone());
                    asked.is_ready = asked.not_ready.is_none();
                } else if !asked.is_ready && asked.not_ready.is_none() {
                    let why = report.why_little.unwrap_or_default();
                    anyhow::bail!("{url} does not say whether it is ready, nor how the network is: {why}");
                }
                report.judge();
                return Ok(report);
            }
            Err(error) => last = Some(error.context(url.clone())),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("there is no gateway to ask")))
}

/// What one gateway says of the network: all, or what everybody may know.
async fn network(endpoint: &Endpoint, client: &GatewayClient, report: &mut Report) -> anyhow::Result<()> {
    report.why_little = None;
    if let Some(token) = &endpoint.known_admin_token()? {
        let answer = client.json(Method::GET, "/v1/admin/status", Some(token), None, CALL).await;
        match answer {
            Ok(status) => {
                report.network = Some(status);
                return Ok(());
            }
            Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                report.why_little = Some("the admin API is not at this address".into());
            }
            // Whoever gave a token wants to know more than everybody may.
            Err(error) => return Err(error.into()),
        }
    } else {
        report.why_little = Some("no admin token: give --admin-token-file".into());
    }
    let list: NodeList = client.json(Method::GET, "/v1/nodes", None, None, CALL).await?;
    report.regions = of_list(&list).regions;
    Ok(())
}

/// What the public list of nodes says.
fn of_list(list: &NodeList) -> NetworkStatus {
    let mut status = NetworkStatus::default();
    for node in &list.nodes {
        let region: &mut RegionStatus = status.regions.entry(node.region.clone()).or_default();
        region.capacity_bytes = region.capacity_bytes.saturating_add(node.capacity_bytes);
        region.used_bytes = region.used_bytes.saturating_add(node.used_bytes);
        match (node.standing.as_str(), node.status.as_str()) {
            ("disqualified", _) => region.disqualified += 1,
            (_, "offline") => region.offline += 1,
            ("suspended", _) => region.suspended += 1,
            _ => {
                region.healthy += 1;
                let free = node.capacity_bytes.saturating_sub(node.used_bytes);
                region.free_bytes = region.free_bytes.saturating_add(free);
            }
        }
    }
    status
}
