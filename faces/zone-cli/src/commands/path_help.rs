//! `path-help`: what a path of the API is good for.

use clap::Command;

use crate::client::Request;
use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, formatted, leaf, required};

pub(super) fn describe() -> Command {
    let command = leaf(
        "path-help",
        "Show what a path of the API is good for",
        "Its operations and their fields; of a mount, all its paths.",
        "zonehead path-help sys
         zonehead path-help secret/data/app
         zonehead path-help -format=json pki",
    );
    connected(formatted(command.arg(required(
        "path",
        "PATH",
        "Path below /v1/.",
    ))))
}

pub(super) async fn run(mut cx: Context<'_>) -> Outcome {
    let output = cx.output()?;
    let path = trimmed(cx.required("path")).to_owned();
    let failure = format!("Error retrieving help for {path}");
    let client = cx.client()?;
    let request = Request {
        method: http::Method::GET,
        path: &path,
        query: &[("help".to_owned(), "1".to_owned())],
        body: None,
        plain: true,
    };
    let response = client.send(&request).await;
    let response = response.map_err(Failure::of(&failure))?;
    if response.status != 200 {
        return Err(Failure::of(failure)(client.refused(response).into()));
    }
    let document = response.json().map_err(Failure::of(&failure))?;
    if !output.is_table() {
        return output.value(cx.console, &document);
    }
    let text = document["help"].as_str();
    let text = text.ok_or_else(|| Failure::failed(format!("{failure}: there is none")))?;
    cx.console.print(text.trim_end())?;
    Ok(0)
}
