//! `events subscribe`: what happens in the zone, as it happens.

use clap::Command;

use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, leaf, required};

pub(super) mod subscribe {
    //! `events subscribe`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "subscribe",
            "Print events as they happen",
            "One JSON document a line, in the form of CloudEvents, until the server ends the stream \
             (the token ended, the zone was sealed: exit code 2) or you do. Only events about paths \
             that the token may read. 'zone/resync' says that some were missed.",
            "zonehead events subscribe 'kv-v2/data-*'
             zonehead events subscribe zone/canary-read",
        );
        connected(command.arg(required("type", "TYPE", "Of events; * matches any text.")))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let path = format!("sys/events/subscribe/{}", trimmed(cx.required("type")));
        let client = cx.client()?;
        let events = client.subscribe(&path).await;
        let mut events = events.map_err(Failure::of("Error subscribing to events"))?;
        loop {
            let next = events.next().await;
            match next.map_err(Failure::of("Error reading events"))? {
                Some(event) if event.kind == "zone/end" => {
                    let text = format!("The server ended the stream: {}", event.data);
                    return Err(Failure::failed(text));
                }
                Some(event) => {
                    cx.console.print(&event.data)?;
                    cx.console.stdout.flush()?;
                }
                None => return Err(Failure::failed("The server ended the stream")),
            }
        }
    }
}
