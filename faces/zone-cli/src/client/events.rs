//! Server-sent events: an answer that goes on until one side ends it.

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{Client, ClientError, Request, error, is_success, read_answer};

/// Longest event.
const LONGEST: usize = 1024 * 1024;

/// The events of one subscription.
pub struct EventStream {
    body: Incoming,
    /// What came behind the last whole event.
    rest: Vec<u8>,
    address: super::Address,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct SentEvent {
    /// Its type; empty if it has none.
    pub kind: String,
    /// What it says.
    pub data: String,
}

impl Client {
    /// Subscribes to the events at `path`.
    ///
    /// # Errors
    ///
    /// There was no answer, or a refusal.
    pub async fn subscribe(&self, path: &str) -> Result<EventStream, ClientError> {
        let request = Request {
            method: Method::GET,
            path,
            query: &[],
            body: None,
            plain: true,
        };
        let address = &self.settings.address;
        let target = address.target(&format!("/v1/{path}"));
        let accept = HeaderValue::from_static("text/event-stream");
        let answer = self.exchange_with(address, &target, &request, |message| {
            message.headers_mut().insert(header::ACCEPT, accept);
        });
        let answer = tokio::time::timeout(self.settings.timeout, answer).await;
        let timed_out = |_elapsed| error::timed_out(address, self.settings.timeout);
        let answer = answer.map_err(timed_out)??;
        if is_success(answer.status().as_u16()) {
            return Ok(EventStream {
                body: answer.into_body(),
                rest: Vec::new(),
                address: address.clone(),
            });
        }
        let url = address.url(&target);
        let (refused, _) = read_answer(answer, &request, url, address).await?;
        Err(self.refused(refused).into())
    }
}

impl EventStream {
    /// The next event; `None` once the server has ended the stream.
    ///
    /// # Errors
    ///
    /// The connection broke, or an event is longer than 1 MiB.
    pub async fn next(&mut self) -> Result<Option<SentEvent>, ClientError> {
        loop {
            if let Some(text) = whole(&mut self.rest) {
                if let Some(event) = parse(&text) {
                    return Ok(Some(event));
                }
                continue;
            }
            if self.rest.len() > LONGEST {
                return Err(ClientError::Setup("an event is longer than 1 MiB".into()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(failed)) => return Err(error::exchanging(&self.address, &failed)),
                Some(Ok(frame)) => {
                    let data: Bytes = frame.into_data().unwrap_or_default();
                    self.rest.extend_from_slice(&data);
                }
            }
        }
    }
}

/// Takes one event, up to its empty line, off the front.
fn whole(rest: &mut Vec<u8>) -> Option<String> {
    let end = rest.windows(2).position(|two| two == b"\n\n")?;
    let behind = rest.split_off(end + 2);
    let text = String::from_utf8_lossy(rest).into_owned();
    *rest = behind;
    Some(text)
}

/// `None`: a comment.
fn parse(text: &str) -> Option<SentEvent> {
    let (mut kind, mut data) = (String::new(), Vec::new());
    for line in text.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut kind),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| SentEvent {
        kind,
        data: data.join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = ": subscribed\n\nid: 1\nevent: a/b\ndata: {}\n\n: ping\n\ndata:x\ndata: y\n\n";
        for cut in 1..text.len() {
            let (mut rest, mut events) = (Vec::new(), Vec::new());
            for part in text.as_bytes().chunks(cut) {
                rest.extend_from_slice(part);
                while let Some(whole) = whole(&mut rest) {
                    events.extend(parse(&whole));
                }
            }
            let event = |kind: &str, data: &str| SentEvent {
                kind: kind.to_owned(),
                data: data.to_owned(),
            };
            assert_eq!(events, [event("a/b", "{}"), event("", "x\ny")], "{cut}");
            assert!(rest.is_empty());
        }
    }
}
