//! A line between a daemon and what it talks to, which a test can cut and mend.

use reqwest::Url;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Whole,
    /// Connections are closed, and no new one comes about.
    Cut,
    /// Nobody is told anything: what is sent arrives nowhere until it is whole again.
    Silent,
}

pub struct Line {
    mode: watch::Sender<Mode>,
    /// The same address through this line.
    pub url: String,
}

impl Line {
    pub async fn to(url: &str) -> Self {
        let mut through = Url::parse(url).expect("a URL");
        let target = format!("{}:{}", through.host_str().expect("a host"), through.port().expect("a port"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        through.set_port(Some(listener.local_addr().expect("an address").port())).expect("set");
        let (mode, seen) = watch::channel(Mode::Whole);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *seen.borrow() == Mode::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(&target).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pump(near_in, far_out, seen.clone()));
                tokio::spawn(pump(far_in, near_out, seen.clone()));
            }
        });
        Self { mode, url: through.as_str().trim_end_matches('/').to_owned() }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            cut = mode.wait_for(|mode| *mode == Mode::Cut) => {
                drop(cut);
                return;
            }
        };
        let goes_on = mode.wait_for(|mode| *mode != Mode::Silent).await.is_ok_and(|mode| *mode == Mode::Whole);
        if read == 0 || !goes_on || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
