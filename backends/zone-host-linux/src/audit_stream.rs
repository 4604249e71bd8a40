//! Audit lines to receivers: the system's log, and sockets.
//!
//! What must hold: every call ends within the time that was set, whatever the other side does; a
//! line that cannot be sent as a whole is reported, and so is one that was sent but not
//! acknowledged, where acknowledgements were asked for. Absent: queues and pauses (the device).

mod socket;
mod syslog;

pub use socket::{SocketAddress, SocketStream};
pub use syslog::{SyslogAddress, SyslogStream};

use std::io;

use rustix::io::Errno;
use zone_ports::AuditSinkError;
use zone_ports::audit::Undelivered;

/// What went wrong with the line behind the `taken` first ones.
fn failed(doing: &'static str, taken: usize, source: io::Error) -> Undelivered {
    let too_long = source.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error());
    Undelivered {
        taken,
        hopeless: too_long,
        error: AuditSinkError { doing, source },
    }
}
