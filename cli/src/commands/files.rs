//! Users' commands: upload, read, list, unpin, health.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::api::{FileHealth, FileInfo, FileList};
use reqwest::multipart;
use service::http::error::ErrorBody;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use crate::{
    endpoint::Endpoint,
    output::{self, OutputError},
};

/// How long a small call may take.
const CALL: Duration = Duration::from_secs(30);

/// What the form calls the file, or the folder around all files. The pin gets its name from the URL, so that no character
/// of it means anything in the form.
const FORM_NAME: &str = "upload";

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The file or directory
    path: PathBuf,
    /// Name of the pin [default: the name of the file]
    #[arg(long)]
    name: Option<String>,
    /// Hash function of the CID: sha2-256 or blake3
    #[arg(long)]
    hash: Option<String>,
    /// Include files and directories whose names start with a dot
    #[arg(long)]
    hidden: bool,
    /// Print the CID and nothing else
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// CID, or CID/path/to/file
    path: String,
    /// Where to write it [default: standard output]
    #[arg(long, short)]
    output: Option<PathBuf>,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Print JSON, one file a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct CidArgs {
    /// The root CID
    cid: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// Uploads and downloads stream without a limit on the whole, and downloads follow the redirect to a node, which the
/// transport of all other calls does not.
fn http_client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .no_proxy()
        .build()?)
}

/// `pinstripe add`.
pub(crate) async fn add(args: AddArgs) -> anyhow::Result<ExitCode> {
    let metadata = std::fs::metadata(&args.path).with_context(|| format!("read {}", args.path.display()))?;
    let default_name =
        args.path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_string()));
    let name = args.name.clone().or(default_name).unwrap_or_else(|| "upload".into());
    let mut url = format!("{}/v1/files?name={}", args.endpoint.url()?, encode(&name));
    if let Some(hash) = &args.hash {
        url.push_str("&hash=");
        url.push_str(&encode(hash));
    }
    let files = if metadata.is_dir() {
        let mut files = Vec::new();
        collect(&args.path, FORM_NAME, args.hidden, &mut files)?;
        files
    } else {
        vec![(args.path.clone(), FORM_NAME.to_string(), metadata.len())]
    };
    if files.is_empty() {
        bail!("{} holds no files", args.path.display());
    }
    let total: u64 = files.iter().map(|(_, _, len)| len).sum();
    let bar = if args.quiet { ProgressBar::hidden() } else { progress(total) };
    let mut form = multipart::Form::new();
    for (path, name, len) in files {
        form = form.part("file", part(path, name, len, bar.clone()));
    }
    let response = http_client()?
        .post(url)
        .bearer_auth(args.endpoint.api_key()?)
        .multipart(form)
        .send()
        .await
        .context("upload")?;
    bar.finish_and_clear();
    let info: FileInfo = answer(response).await?;
    if args.quiet {
        output::line(&info.cid)?;
    } else {
        output::line(format_args!("{}\n{}", info.cid, info.url))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All files below a directory, in order of their names, as (path on disk, path in the upload, length).
fn collect(
    directory: &Path,
    inside: &str,
    hidden: bool,
    files: &mut Vec<(PathBuf, String, u64)>,
) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name
            .to_str()
            .with_context(|| format!("{} has a name that is not UTF-8", entry.path().display()))?;
        if name.starts_with('.') && !hidden {
            continue;
        }
        let kind = entry.file_type()?;
        if (kind.is_dir() || kind.is_file()) && !can_be_sent(name) {
            bail!(
                "{} has a backslash or a control character in its name, which a form cannot carry; nothing was sent",
                entry.path().display().to_string().escape_debug()
            );
        }
        let path = format!("{inside}/{name}");
        if kind.is_dir() {
            collect(&entry.path(), &path, hidden, files)?;
        } else if kind.is_file() {
            files.push((entry.path(), path, entry.metadata()?.len()));
        } else {
            let what = if kind.is_symlink() { "a symbolic link" } else { "neither a file nor a directory" };
            output::complain(format_args!("skipping {}: {what}", entry.path().display()));
        }
    }
    Ok(())
}

/// Whether a name arrives as it is in the headers of a form. Senders escape quotes, and receivers undo that; the backslash
/// itself comes out doubled, and headers hold no control characters but the tab.
fn can_be_sent(name: &str) -> bool {
    !name.chars().any(|char| char == '\\' || (char.is_ascii_control() && char != '\t'))
}

/// A part of the form whose file is opened only when its turn comes, so that any number of files can be sent.
fn part(path: PathBuf, name: String, len: u64, bar: ProgressBar) -> multipart::Part {
    let bytes = futures_util::stream::once(async move {
        let file = tokio::fs::File::open(&path).await?;
        Ok::<_, std::io::Error>(ReaderStream::with_capacity(file, 256 << 10))
    });
    let bytes = futures_util::TryStreamExt::try_flatten(bytes).inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            bar.inc(chunk.len() as u64);
        }
    });
    multipart::Part::stream_with_length(reqwest::Body::wrap_stream(bytes), len).file_name(name)
}

fn progress(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar
}

/// The JSON of a good answer, or the reason of a bad one.
async fn answer<T: serde::de::DeserializeOwned>(response: reqwest::Response) -> anyhow::Result<T> {
    let status = response.status();
    let body = response.bytes().await?;
    if status.is_success() {
        return serde_json::from_slice(&body).context("the gateway's answer is not understood");
    }
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(error) => bail!("{} ({status}, {})", error.error.details, error.error.reason),
        Err(_) => bail!("the gateway answered {status}"),
    }
}

/// `pinstripe get`.
pub(crate) async fn get(args: GetArgs) -> anyhow::Result<ExitCode> {
    let path: Vec<String> = args.path.trim_start_matches("/ipfs/").split('/').map(encode).collect();
    let url = format!("{}/ipfs/{}", args.endpoint.url()?, path.join("/"));
    let response = http_client()?.get(url).send().await.context("read")?;
    let status = response.status();
    if !status.is_success() {
        bail!("{status}: {}", response.text().await.unwrap_or_default().trim());
    }
    if is_directory(&args.path, &response) {
        bail!("{} is a directory; name a file in it", args.path);
    }
    let expected = response.content_length();
    let mut output: Box<dyn tokio::io::AsyncWrite + Unpin> = match &args.output {
        Some(path) => {
            let file = tokio::fs::File::create(path).await;
            Box::new(file.with_context(|| format!("create {}", path.display()))?)
        }
        None => Box::new(tokio::io::stdout()),
    };
    let mut written = 0;
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.context("the content broke off")?;
        written += chunk.len() as u64;
        output.write_all(&chunk).await.map_err(OutputError::from)?;
    }
    output.flush().await.map_err(OutputError::from)?;
    if expected.is_some_and(|expected| expected != written) {
        bail!("the content broke off after {written} bytes");
    }
    Ok(ExitCode::SUCCESS)
}

/// Directories are answered with a page for browsers: their index.html, after a redirect to the path with a slash at the
/// end, or a listing, which its `ETag` gives away.
fn is_directory(asked: &str, response: &reqwest::Response) -> bool {
    let led_to_slash = !asked.ends_with('/') && response.url().path().ends_with('/');
    let etag = response.headers().get(http::header::ETAG).map_or(&[][..], http::HeaderValue::as_bytes);
    led_to_slash || etag.starts_with(b"\"DirIndex")
}

/// `pinstripe ls`.
pub(crate) async fn ls(args: LsArgs) -> anyhow::Result<ExitCode> {
    let (client, key) = (args.endpoint.client()?, args.endpoint.api_key()?);
    let mut cursor: Option<String> = None;
    loop {
        let page = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={}", encode(cursor)));
        let path = format!("/v1/files?limit=1000{page}");
        let list: FileList = client.json(Method::GET, &path, Some(&key), None, CALL).await?;
        for file in list.files {
            if args.json {
                output::line(serde_json::to_string(&file)?)?;
            } else {
                let (size, created) = (file.size_bytes, file.created);
                output::line(format_args!("{}  {size:>14}  {created}  {}", file.cid, file.name))?;
            }
        }
        match list.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// `pinstripe rm`.
pub(crate) async fn rm(args: CidArgs) -> anyhow::Result<ExitCode> {
    let url = format!("{}/v1/files/{}", args.endpoint.url()?, encode(&args.cid));
    let response = http_client()?.delete(url).bearer_auth(args.endpoint.api_key()?).send().await?;
    if response.status().is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    answer::<serde_json::Value>(response).await.map(|_| ExitCode::SUCCESS)
}

/// `pinstripe health`.
pub(crate) async fn health(args: CidArgs) -> anyhow::Result<ExitCode> {
    let (client, key) = (args.endpoint.client()?, args.endpoint.api_key()?);
    let path = format!("/v1/files/{}/health", encode(&args.cid));
    let health: FileHealth = client.json(Method::GET, &path, Some(&key), None, CALL).await?;
    output::line(format_args!("{}: {}", health.cid, health.status))?;
    for segment in health.segments {
        let map: String = segment
            .pieces
            .iter()
            .map(|piece| match piece.state.as_str() {
                "healthy" => '#',
                "suspended" => '+',
                "offline" => '-',
                _ => '.',
            })
            .collect();
        output::line(format_args!(
            "  segment {}  [{map}]  {} of {} healthy, {} needed, {} more losses tolerated",
            segment.id, segment.healthy, segment.total, segment.needed, segment.losses_tolerated
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn encode(text: impl AsRef<str>) -> String {
    utf8_percent_encode(text.as_ref(), NON_ALPHANUMERIC).to_string()
}
