//! Which gateway to talk to and with which key: from flags, the environment, or the network that `pinstripe dev` runs here.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use client::{GatewayClient, Timeouts, Transport};
use service::{clock::Clock, secrets::read_admin_token};

use crate::dev::{DevFile, DevServer};

/// Flags of all commands that talk to a gateway.
#[derive(Debug, Clone, Args)]
pub(crate) struct Endpoint {
    /// URL of the gateway [default: the one of the network in --dir]
    #[arg(long, env = "PINSTRIPE_GATEWAY", global = true)]
    gateway: Option<String>,
    /// API key [default: the one of the network in --dir]
    #[arg(long, env = "PINSTRIPE_API_KEY", global = true, hide_env_values = true)]
    api_key: Option<String>,
    /// Admin token, for the gateway in --gateway [default: the one of the network in --dir, for that one]
    #[arg(long, env = "PINSTRIPE_ADMIN_TOKEN", global = true, hide_env_values = true)]
    admin_token: Option<String>,
    /// File that holds the admin token, which wins over --admin-token
    #[arg(long, global = true)]
    admin_token_file: Option<PathBuf>,
    /// Directory of a network started with `pinstripe dev`
    #[arg(long, default_value = ".pinstripe", global = true)]
    dir: PathBuf,
}

impl Endpoint {
    fn dev_file(&self) -> Option<DevFile> {
        DevFile::read(&self.dir).ok()
    }

    /// URL of the gateway.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        let url = self.gateway.clone().or_else(|| self.dev_file().map(|dev| dev.gateway));
        let dir = self.dir.display();
        url.with_context(|| {
            format!(
                "no gateway: give --gateway or PINSTRIPE_GATEWAY, or start `pinstripe dev` (looked in {dir})"
            )
        })
    }

    /// URLs of the gateways and monitors that can be asked: the gateway that was given, or all of the network in the directory.
    pub(crate) fn servers(&self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        match self.dev_file().filter(|_| self.gateway.is_none()) {
            Some(dev) => {
                let urls = |servers: Vec<DevServer>| servers.into_iter().map(|server| server.url).collect();
                Ok((urls(dev.gateways), urls(dev.monitors)))
            }
            None => Ok((vec![self.url()?], Vec::new())),
        }
    }

    /// The API key.
    pub(crate) fn api_key(&self) -> anyhow::Result<String> {
        // The key of the network here is not for others.
        let of_dev = || self.dev_file().filter(|_| self.gateway.is_none()).map(|dev| dev.api_key);
        let key = self.api_key.clone().or_else(of_dev);
        key.context("no API key: give --api-key or PINSTRIPE_API_KEY")
    }

    /// The admin token.
    pub(crate) fn admin_token(&self) -> anyhow::Result<String> {
        self.known_admin_token()?.context("no admin token: give --admin-token-file or PINSTRIPE_ADMIN_TOKEN")
    }

    /// The admin token, if there is one. It is of whoever named the gateway: what somebody gave is not sent to an address that a
    /// file names, nor what the file has to an address that somebody gave.
    pub(crate) fn known_admin_token(&self) -> anyhow::Result<Option<String>> {
        if self.gateway.is_none()
            && let Some(dev) = self.dev_file()
        {
            return Ok(Some(dev.admin_token));
        }
        match &self.admin_token_file {
            Some(file) => {
                let token = read_admin_token(file).with_context(|| format!("read {}", file.display()))?;
                Ok(Some(token.value))
            }
            None => Ok(self.admin_token.clone()),
        }
    }

    /// A client of the gateway.
    pub(crate) fn client(&self) -> anyhow::Result<GatewayClient> {
        let transport = Transport::http(Timeouts::default())?;
        Ok(GatewayClient::new(transport, &self.url()?, Clock::System))
    }
}
