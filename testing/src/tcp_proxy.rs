//! A way to a server that a test can cut off and let stand still, without touching the server.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections are closed, new ones at once.
    Cut,
    /// Connections stay and nothing comes through.
    Still,
}

/// A listener that passes everything on to a server; it ends with this value.
pub struct TcpProxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    task: tokio::task::JoinHandle<()>,
}

impl TcpProxy {
    /// A way to `server`, which is `host:port`.
    pub async fn to(server: impl Into<String>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let way = watch::Sender::new(Way::Open);
        let task = tokio::spawn(accept(listener, server.into(), way.subscribe()));
        Ok(Self { address, way, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and new ones at once.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Lets connections be and passes nothing on.
    pub fn stand_still(&self) {
        self.way.send_replace(Way::Still);
    }

    /// Passes everything on again.
    pub fn open(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, way: watch::Receiver<Way>) {
    while let Ok((client, _)) = listener.accept().await {
        if *way.borrow() == Way::Cut {
            continue;
        }
        let (server, way) = (server.clone(), way.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // Whichever direction ends, or is cut, ends both.
            tokio::select! {
                () = pass(from_client, to_server, way.clone()) => {}
                () = pass(from_server, to_client, way) => {}
            }
        });
    }
}

/// Passes bytes on until the end of them or the cut.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        if way.wait_for(|way| *way != Way::Still).await.is_ok_and(|way| *way == Way::Cut) {
            return;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = way.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok(read @ 1..) = read else { return };
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
