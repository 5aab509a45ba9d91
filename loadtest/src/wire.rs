//! One kept-alive HTTP/1.1 connection with as little between the socket and the clock as possible: on a machine that
//! client and servers share, a client that costs as much as the server halves what is measured. Knows what the servers
//! under test send (a length with every answer) and refuses everything else.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// An answer's head is shorter than this.
const HEAD_MAX: usize = 16 << 10;
const BUFFER: usize = 256 << 10;
/// An answer that is kept whole is shorter than this.
const WHOLE_MAX: u64 = 64 << 20;

/// A connection; good for the next request only after the last answer was read to its end.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Length of the body.
    pub(crate) length: u64,
    pub(crate) location: Option<String>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER].into(), start: 0, end: 0 })
    }

    /// Sends bytes of a request.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("send")
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.end..]).await.context("receive")?;
        ensure!(read > 0, "the connection was closed in the middle of an answer");
        self.end += read;
        Ok(())
    }

    /// Waits for an answer and takes its head.
    pub(crate) async fn head(&mut self) -> anyhow::Result<Head> {
        loop {
            let has = &self.buffer[self.start..self.end];
            if let Some(end) = has.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = parse(&has[..end])?;
                self.start += end + 4;
                return Ok(head);
            }
            ensure!(has.len() < HEAD_MAX, "the head of the answer is too long");
            self.fill().await?;
        }
    }

    /// Takes the body that follows `head`, giving each part with its offset.
    pub(crate) async fn body(&mut self, head: &Head, mut part: impl FnMut(u64, &[u8])) -> anyhow::Result<()> {
        let mut taken = 0;
        while taken < head.length {
            if self.start == self.end {
                self.fill().await?;
            }
            let left = usize::try_from(head.length - taken).unwrap_or(usize::MAX);
            let take = left.min(self.end - self.start);
            part(taken, &self.buffer[self.start..self.start + take]);
            self.start += take;
            taken += take as u64;
        }
        Ok(())
    }

    /// Sends a whole request and takes the answer, whose body is thrown away.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Head> {
        self.send(request).await?;
        let head = self.head().await?;
        self.body(&head, |_, _| {}).await?;
        Ok(head)
    }

    /// Sends a whole request and takes the answer with its body.
    pub(crate) async fn fetch(&mut self, request: &[u8]) -> anyhow::Result<(Head, Vec<u8>)> {
        self.send(request).await?;
        self.whole().await
    }

    /// Takes an answer with its body.
    pub(crate) async fn whole(&mut self) -> anyhow::Result<(Head, Vec<u8>)> {
        let head = self.head().await?;
        ensure!(head.length < WHOLE_MAX, "the answer has {} bytes", head.length);
        let mut body = Vec::new();
        self.body(&head, |_, part| body.extend_from_slice(part)).await?;
        Ok((head, body))
    }
}

fn parse(head: &[u8]) -> anyhow::Result<Head> {
    let text = std::str::from_utf8(head).context("head of an answer")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status: u16 = status.context("not an answer of HTTP/1.1")?;
    let (mut length, mut location) = (None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("location") {
            location = Some(value.trim().to_string());
        }
    }
    match length {
        Some(length) => Ok(Head { status, length, location }),
        None => bail!("an answer {status} without a length"),
    }
}

/// A request without a body.
pub(crate) fn get(path: &str, more: &str) -> Bytes {
    format!("GET {path} HTTP/1.1\r\nhost: loadtest\r\n{more}\r\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_whatever_the_case_of_names() {
        let head =
            parse(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://a/b?c:d\r\nCONTENT-LENGTH: 12")
                .unwrap();
        assert_eq!(head, Head { status: 307, length: 12, location: Some("http://a/b?c:d".into()) });
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked").is_err());
        assert!(parse(b"SSH-2.0-x").is_err());
    }

    #[tokio::test]
    async fn answers_behind_each_other_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers =
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\nde";
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answers.as_bytes()).await.unwrap();
        });
        let mut connection = Connection::open(address).await.unwrap();
        let (first, body) = connection.whole().await.unwrap();
        assert_eq!((first.status, body.as_slice()), (200, &b"abc"[..]));
        let (second, body) = connection.whole().await.unwrap();
        assert_eq!((second.status, body.as_slice()), (404, &b"de"[..]));
        assert!(connection.head().await.is_err());
        server.await.unwrap();
    }
}
