//! A socket: each line is one datagram, or one line of a stream.
//!
//! Acknowledged: the receiver answers each line of the stream with a line that holds its number
//! (`stream.seq`) in decimal digits, in the same order, once it has the line safe.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::RecvFlags;
use zone_ports::AuditStream;
use zone_ports::audit::{StreamLine, Undelivered};

use super::failed;
use super::syslog::udp;

/// Longest line that is read as an acknowledgement.
const LONGEST_NUMBER: usize = 24;

/// Where the receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// `host:port`.
    Tcp(String),
    /// `host:port`.
    Udp(String),
    /// A stream socket of this machine.
    Unix(PathBuf),
}

/// The way to one receiver.
#[derive(Debug)]
pub struct SocketStream {
    address: SocketAddress,
    patience: Duration,
    acknowledged: bool,
    open: Option<Open>,
    /// What the receiver answered and was not looked at yet.
    answers: Vec<u8>,
}

#[derive(Debug)]
enum Open {
    Tcp(TcpStream),
    Unix(UnixStream),
    Udp(UdpSocket),
}

impl SocketStream {
    /// Nothing is opened yet. No call waits longer than `patience` for the receiver to take or to
    /// acknowledge something. Datagrams are never `acknowledged`.
    pub fn new(address: SocketAddress, patience: Duration, acknowledged: bool) -> Self {
        let acknowledged = acknowledged && !matches!(address, SocketAddress::Udp(_));
        Self {
            address,
            patience,
            acknowledged,
            open: None,
            answers: Vec::new(),
        }
    }

    fn connect(&self) -> io::Result<Open> {
        let patience = Some(self.patience);
        Ok(match &self.address {
            SocketAddress::Udp(address) => Open::Udp(udp(address, self.patience)?),
            SocketAddress::Tcp(address) => {
                let stream = self.connect_tcp(address)?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(patience)?;
                stream.set_read_timeout(patience)?;
                Open::Tcp(stream)
            }
            SocketAddress::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(patience)?;
                stream.set_read_timeout(patience)?;
                Open::Unix(stream)
            }
        })
    }

    fn connect_tcp(&self, address: &str) -> io::Result<TcpStream> {
        let mut last = ErrorKind::AddrNotAvailable.into();
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The connection; a new one if the receiver closed the old one, which a write would not
    /// notice.
    fn ready(&mut self) -> io::Result<()> {
        if self.open.as_ref().is_some_and(Open::is_over) {
            self.open = None;
        }
        if self.open.is_none() {
            self.answers.clear();
            self.open = Some(self.connect()?);
        }
        Ok(())
    }

    /// Reads the answers to `lines`. On an error: how many came.
    fn acknowledgements(&mut self, lines: &[StreamLine<'_>]) -> Result<(), (usize, io::Error)> {
        for (at, line) in lines.iter().enumerate() {
            let answered = self.next_answer().map_err(|error| (at, error))?;
            if answered != line.seq.to_string().as_bytes() {
                let text = "the receiver acknowledged another line";
                return Err((at, io::Error::new(ErrorKind::InvalidData, text)));
            }
        }
        Ok(())
    }

    fn next_answer(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.answers.iter().position(|byte| *byte == b'\n') {
                let rest = self.answers.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.answers, rest);
                line.truncate(end);
                return Ok(line);
            }
            if self.answers.len() > LONGEST_NUMBER {
                return Err(ErrorKind::InvalidData.into());
            }
            let mut buffer = [0; 512];
            let count = match &mut self.open {
                Some(Open::Tcp(stream)) => stream.read(&mut buffer)?,
                Some(Open::Unix(stream)) => stream.read(&mut buffer)?,
                _ => return Err(ErrorKind::NotConnected.into()),
            };
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.answers.extend_from_slice(&buffer[..count]);
        }
    }

    fn send(&mut self, lines: &[StreamLine<'_>]) -> Result<(), Undelivered> {
        let mut sent = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            sent.clear();
            sent.extend_from_slice(line.text);
            sent.push(b'\n');
            let written = match &mut self.open {
                Some(Open::Tcp(stream)) => stream.write_all(&sent),
                Some(Open::Unix(stream)) => stream.write_all(&sent),
                Some(Open::Udp(socket)) => socket.send(&sent).map(drop),
                None => Err(ErrorKind::NotConnected.into()),
            };
            // Acknowledged: nothing counts before its answer.
            let taken = if self.acknowledged { 0 } else { at };
            written.map_err(|error| failed("written", taken, error))?;
        }
        if !self.acknowledged {
            return Ok(());
        }
        let answered = self.acknowledgements(lines);
        answered.map_err(|(taken, error)| failed("heard", taken, error))
    }
}

impl Open {
    /// Whether the other side has closed a stream.
    fn is_over(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Udp(_) => return false,
        };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(socket, &mut [0_u8; 1], flags), Ok((_, 0)))
    }
}

impl AuditStream for SocketStream {
    fn deliver(&mut self, lines: &[StreamLine<'_>]) -> Result<(), Undelivered> {
        self.ready().map_err(|error| failed("reached", 0, error))?;
        let result = self.send(lines);
        if result.is_err() {
            self.open = None;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn line(seq: u64) -> StreamLine<'static> {
        StreamLine {
            seq,
            text: b"{\"a\":1}",
        }
    }

    /// Takes one connection, and answers the first lines with `answers`.
    fn receiver(
        answers: &'static [&'static str],
    ) -> (SocketAddress, std::thread::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = SocketAddress::Tcp(listener.local_addr().unwrap().to_string());
        let taken = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for answer in answers {
                assert_eq!(lines.next().unwrap().unwrap(), "{\"a\":1}");
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
            lines.count()
        });
        (address, taken)
    }

    #[test]
    fn acknowledged_lines_count_one_by_one() {
        for (answers, taken, all) in [
            (&["7\n", "8\n", "9\n"][..], 3, true),
            (&["", "7\n8\n9", "\n"][..], 3, true),
            (&["7\n", "8\n"][..], 2, false),
            (&["7\n", "9\n"][..], 1, false),
            (&["07\n"][..], 0, false),
            (
                &["a line that is much longer than any number could be"][..],
                0,
                false,
            ),
        ] {
            let (address, thread) = receiver(answers);
            let mut stream = SocketStream::new(address, PATIENCE, true);
            let result = stream.deliver(&[line(7), line(8), line(9)]);
            assert_eq!(result.is_ok(), all, "{answers:?}");
            if let Err(failure) = result {
                assert_eq!(
                    (failure.taken, failure.hopeless),
                    (taken, false),
                    "{answers:?}"
                );
            }
            drop(stream);
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_receiver_that_hangs_costs_the_patience_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut stream = SocketStream::new(SocketAddress::Tcp(address), PATIENCE, false);
        let long = vec![b'x'; 1 << 20];
        let long = StreamLine {
            seq: 1,
            text: &long,
        };
        let failure = loop {
            if let Err(failure) = stream.deliver(&[long]) {
                break failure;
            }
        };
        assert!(!failure.hopeless);
        assert_eq!(failure.error.source.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_connection_that_the_receiver_closed_takes_no_line_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut stream = SocketStream::new(SocketAddress::Unix(path), PATIENCE, false);
        for _ in 0..3 {
            stream.deliver(&[line(1)]).unwrap();
            let (end, _) = listener.accept().unwrap();
            let mut text = String::new();
            BufReader::new(&end).read_line(&mut text).unwrap();
            assert_eq!(text, "{\"a\":1}\n");
        }
        drop(listener);
        assert_eq!(stream.deliver(&[line(1)]).unwrap_err().taken, 0);
    }

    #[test]
    fn datagrams_are_lines_and_never_acknowledged() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let mut stream = SocketStream::new(SocketAddress::Udp(address), PATIENCE, true);
        stream.deliver(&[line(1)]).unwrap();
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"{\"a\":1}\n");
    }
}
