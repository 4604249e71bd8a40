//! Sockets that systemd passes on (socket activation, sd_listen_fds(3)).

use anyhow::{Context, anyhow};
use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};
use zone_http::server::Socket;

/// The sockets that this process was started with and has not taken yet.
pub(crate) struct Passed {
    sockets: ListenFd,
    /// By index; empty once it is taken.
    names: Vec<String>,
}

impl Passed {
    /// Takes them from the environment, which only the process that systemd started has.
    pub(crate) fn take() -> Self {
        let sockets = ListenFd::from_env();
        let given = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = given.split(':').map(str::to_owned);
        let names = (0..sockets.len())
            .map(|_| given.next().unwrap_or_default())
            .collect();
        Self { sockets, names }
    }

    /// The socket with that `FileDescriptorName=`.
    pub(crate) fn named(&mut self, name: &str) -> anyhow::Result<Socket> {
        let index = self.names.iter().position(|own| own == name);
        let index = index.ok_or_else(|| {
            anyhow!(
                "no socket of that name was passed on: write FileDescriptorName={name} into the \
                 .socket unit and start that unit"
            )
        })?;
        self.names[index].clear();
        let wrong = || format!("the socket {name} is no listening stream socket");
        if let Ok(Some(socket)) = self.sockets.take_tcp_listener(index) {
            socket.set_nonblocking(true)?;
            return Ok(TcpListener::from_std(socket).with_context(wrong)?.into());
        }
        let socket = self.sockets.take_unix_listener(index).with_context(wrong)?;
        let socket = socket.with_context(wrong)?;
        socket.set_nonblocking(true)?;
        Ok(UnixListener::from_std(socket).with_context(wrong)?.into())
    }

    /// Names of those that nobody took.
    pub(crate) fn left(&self) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}
