//! Requests to hosts that strangers name: one GET at a time, its redirects followed by hand, and every URL and address
//! checked before it is used. It sends no credentials, no cookies and no referrer, and heeds no proxy of the environment.

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT, LOCATION, RETRY_AFTER},
    redirect,
};
use tokio::time::timeout;
use url::Url;

use crate::{
    config::FetchConfig,
    policy::{OutboundPolicy, Refusal},
    problem::{Problem, Stage},
};

/// Addresses of one name that are tried, at most.
const ADDRESSES_MAX: usize = 16;

/// How names become addresses.
#[derive(Debug, Clone, Default)]
pub enum Resolver {
    /// As the system does it.
    #[default]
    System,
    /// These names and no others, for tests.
    Fixed(BTreeMap<String, Vec<IpAddr>>),
}

impl Resolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::System => {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            Self::Fixed(names) => names.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

/// Gives the connector only addresses that were checked, so that what was checked is what is connected to.
struct Guard {
    resolver: Resolver,
    policy: Arc<OutboundPolicy>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, policy) = (self.resolver.clone(), Arc::clone(&self.policy));
        Box::pin(async move {
            let found = resolver.resolve(name.as_str()).await?;
            let was_found = !found.is_empty();
            let allowed = found.into_iter().filter(|&address| policy.check_address(address).is_ok());
            let allowed: Vec<_> =
                allowed.take(ADDRESSES_MAX).map(|address| SocketAddr::new(address, 0)).collect();
            if was_found && allowed.is_empty() {
                return Err(Refusal::Address.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The way out.
#[derive(Debug)]
pub(crate) struct Outbound {
    client: Client,
    policy: Arc<OutboundPolicy>,
    redirects_max: u8,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    connect_timeout: Duration,
}

impl Outbound {
    pub(crate) fn new(config: &FetchConfig, resolver: Resolver) -> Result<Self, reqwest::Error> {
        // The second installation of the same provider fails harmlessly.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let policy = Arc::new(config.policy());
        let client = Client::builder()
            .dns_resolver(Arc::new(Guard { resolver, policy: Arc::clone(&policy) }))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .user_agent(concat!("pinstripe/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(config.at_once)
            .pool_idle_timeout(Duration::from_secs(15))
            .build()?;
        Ok(Self {
            client,
            policy,
            redirects_max: config.redirects_max,
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            connect_timeout: config.connect_timeout,
        })
    }

    pub(crate) fn policy(&self) -> &OutboundPolicy {
        &self.policy
    }

    /// Asks for `url`, and gives the answer if its status is 200.
    pub(crate) async fn get(&self, url: Url, accept: &str) -> Result<Answer, Problem> {
        let late = Problem::Late(Stage::FirstByte, self.first_byte_timeout);
        timeout(self.first_byte_timeout, self.follow(url, accept)).await.unwrap_or(Err(late))
    }

    async fn follow(&self, mut url: Url, accept: &str) -> Result<Answer, Problem> {
        for _ in 0..=self.redirects_max {
            self.policy.check_url(&url)?;
            let sent = self.client.get(url.clone()).header(ACCEPT, accept).send().await;
            let response = sent.map_err(|error| self.problem(&error))?;
            match response.status() {
                StatusCode::OK => return Ok(Answer { response, idle_timeout: self.idle_timeout }),
                StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Problem::NotFound),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    return Err(Problem::Busy(retry_after(&response)));
                }
                status if status.is_redirection() => {
                    url = target(&url, &response).ok_or(Problem::Redirect)?;
                }
                status => return Err(Problem::Status(status.as_u16())),
            }
        }
        Err(Problem::Redirect)
    }

    fn problem(&self, error: &reqwest::Error) -> Problem {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<Refusal>() {
                return Problem::Refused(refusal.clone());
            }
            cause = error.source();
        }
        if error.is_timeout() {
            Problem::Late(Stage::Connect, self.connect_timeout)
        } else if error.is_connect() {
            Problem::NoConnection
        } else {
            Problem::Broken
        }
    }
}

/// Where a redirect leads.
fn target(url: &Url, response: &Response) -> Option<Url> {
    url.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()
}

/// For how many seconds a source wants to be left alone. Dates are not understood.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The body of an answer, read as it comes.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    idle_timeout: Duration,
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match timeout(self.idle_timeout, self.response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(_)) => Err(Problem::Broken),
            Err(_) => Err(Problem::Late(Stage::Idle, self.idle_timeout)),
        }
    }

    /// All of it; `None` when that is more than `bytes_max`.
    pub(crate) async fn collect(mut self, bytes_max: usize) -> Result<Option<Bytes>, Problem> {
        let mut collected = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if bytes.len() > bytes_max - collected.len() {
                return Ok(None);
            }
            collected.extend_from_slice(&bytes);
        }
        Ok(Some(collected.freeze()))
    }
}
