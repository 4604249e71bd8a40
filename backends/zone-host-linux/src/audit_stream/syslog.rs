//! The system's log: `/dev/log` by datagrams, or a host by UDP (RFC 5424).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use zone_ports::AuditStream;
use zone_ports::audit::{StreamLine, Undelivered};

use super::failed;

/// How long a full `/dev/log` is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The severity "informational".
const INFORMATIONAL: u8 = 6;

/// Where the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A datagram socket of this machine: `/dev/log`.
    Local(PathBuf),
    /// `host:port`, by UDP.
    Host(String),
}

/// The way to one log.
#[derive(Debug)]
pub struct SyslogStream {
    address: SyslogAddress,
    /// What stands before each line.
    head: String,
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Local(UnixDatagram),
    Host(UdpSocket),
}

impl SyslogStream {
    /// Nothing is opened yet. `facility` is 0 to 23, `tag` a word.
    pub fn new(address: SyslogAddress, facility: u8, tag: &str) -> Self {
        let (priority, process) = (facility * 8 + INFORMATIONAL, std::process::id());
        let head = match address {
            // The local form; the log's own clock and name count.
            SyslogAddress::Local(_) => format!("<{priority}>{tag}[{process}]: "),
            SyslogAddress::Host(_) => format!("<{priority}>1 - - {tag} {process} - - "),
        };
        Self {
            address,
            head,
            open: None,
        }
    }

    fn opened(&mut self) -> io::Result<&Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        Ok(self.open.insert(open))
    }

    fn connect(&self) -> io::Result<Open> {
        match &self.address {
            SyslogAddress::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Open::Local(socket))
            }
            SyslogAddress::Host(address) => Ok(Open::Host(udp(address, PATIENCE)?)),
        }
    }
}

/// A UDP socket that sends to `address` alone.
pub(super) fn udp(address: &str, patience: Duration) -> io::Result<UdpSocket> {
    let nowhere = || io::Error::from(io::ErrorKind::AddrNotAvailable);
    let target = address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_write_timeout(Some(patience))?;
    Ok(socket)
}

impl AuditStream for SyslogStream {
    fn deliver(&mut self, lines: &[StreamLine<'_>]) -> Result<(), Undelivered> {
        self.opened().map_err(|error| failed("reached", 0, error))?;
        for (at, line) in lines.iter().enumerate() {
            let message = [self.head.as_bytes(), line.text].concat();
            let sent = match &self.open {
                Some(Open::Local(socket)) => socket.send(&message),
                Some(Open::Host(socket)) => socket.send(&message),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            if let Err(error) = sent {
                self.open = None;
                return Err(failed("written", at, error));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: StreamLine<'_> = StreamLine {
        seq: 1,
        text: b"{\"a\":1}",
    };

    #[test]
    fn a_local_log_that_goes_away_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut stream = SyslogStream::new(SyslogAddress::Local(path.clone()), 4, "zonehead");
        let away = stream.deliver(&[LINE]).unwrap_err();
        assert_eq!((away.taken, away.hopeless), (0, false));
        let log = UnixDatagram::bind(&path).unwrap();
        stream.deliver(&[LINE, LINE]).unwrap();
        let mut buffer = [0; 256];
        let length = log.recv(&mut buffer).unwrap();
        let want = format!("<38>zonehead[{}]: {{\"a\":1}}", std::process::id());
        assert_eq!(buffer[..length], *want.as_bytes());
        drop(log);
        assert_eq!(stream.deliver(&[LINE]).unwrap_err().taken, 0);
        std::fs::remove_file(&path).unwrap();
        let log = UnixDatagram::bind(&path).unwrap();
        stream.deliver(&[LINE]).unwrap();
        assert_eq!(log.recv(&mut buffer).unwrap(), want.len());
    }

    #[test]
    fn a_line_that_fits_no_datagram_is_hopeless_and_the_others_are_not() {
        let log = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = log.local_addr().unwrap().to_string();
        let mut stream = SyslogStream::new(SyslogAddress::Host(address), 10, "z");
        let long = vec![b'x'; 70_000];
        let long = StreamLine {
            seq: 2,
            text: &long,
        };
        let refused = stream.deliver(&[LINE, long, LINE]).unwrap_err();
        assert_eq!((refused.taken, refused.hopeless), (1, true));
        let mut buffer = [0; 256];
        let length = log.recv(&mut buffer).unwrap();
        let want = format!("<86>1 - - z {} - - {{\"a\":1}}", std::process::id());
        assert_eq!(buffer[..length], *want.as_bytes());
    }
}
