//! `audit list|enable|disable`: audit devices.

use clap::Command;
use serde_json::{Map, Value, json};

use super::secrets::mounts;
use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::output::table::{plain, table};
use crate::spec::{connected, flag, formatted, leaf, required, rest, switch};
use crate::values;

pub(super) mod list {
    //! `audit list`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "list",
            "List the audit devices",
            "The exit code is 2 if there are none.",
            "zonehead audit list -detailed",
        );
        connected(formatted(
            command.arg(switch("detailed", "Show more columns.")),
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let reply = cx.client()?.read("sys/audit", &[]).await;
        let devices = mounts(reply.map_err(Failure::of("Error listing audits"))?);
        if !output.is_table() {
            return output.value(cx.console, &Value::Object(devices));
        }
        if devices.is_empty() {
            cx.console.print("No audit devices are enabled.")?;
            return Ok(2);
        }
        let detailed = cx.is_on("detailed");
        cx.console.print(&table(&rows(&devices, detailed)))?;
        Ok(0)
    }

    fn rows(devices: &Map<String, Value>, detailed: bool) -> Vec<Vec<String>> {
        let mut titles = vec!["Path", "Type", "Description"];
        if detailed {
            titles.extend(["Replication", "Options"]);
        }
        let mut rows = vec![titles.into_iter().map(str::to_owned).collect()];
        let mut devices: Vec<_> = devices.iter().collect();
        devices.sort_by_key(|(path, _)| path.as_str());
        for (path, device) in devices {
            let mut row = vec![
                path.clone(),
                plain(&device["type"]),
                plain(&device["description"]),
            ];
            if detailed {
                let replication = if device["local"] == true {
                    "local"
                } else {
                    "replicated"
                };
                row.push(replication.to_owned());
                let options = device["options"].as_object().into_iter().flatten();
                let key = device
                    .as_object()
                    .and_then(|device| device.get_key_value("public_key"));
                let options = options
                    .chain(key)
                    .map(|(key, value)| format!("{key}={}", plain(value)));
                row.push(options.collect::<Vec<_>>().join(" "));
            }
            rows.push(row);
        }
        rows
    }
}

pub(super) mod enable {
    //! `audit enable`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "enable",
            "Add an audit device",
            "A request is answered only when at least one device that counts has recorded it: a \
             file, or a socket that acknowledges each line. Files may be in the directories of \
             the head's configuration; addresses of sockets stand in its audit.receivers.",
            "zonehead audit enable -path=second file file_path=/var/log/zonehead/2.log
             zonehead audit enable syslog facility=LOCAL0 tag=zonehead
             zonehead audit enable socket address=127.0.0.1:9090 socket_type=tcp",
        );
        connected(command.args([
            flag("path", "path", "The device's name. Default: the type."),
            flag("description", "text", "What it is for."),
            switch("local", "Do not replicate."),
            required("type", "TYPE", "file, syslog or socket."),
            rest(
                "options",
                "OPTIONS",
                "key=value options of the device, such as file_path.",
            ),
        ]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let kind = cx.required("type").trim().to_owned();
        let path = trimmed(cx.text("path").unwrap_or(&kind)).to_owned();
        let options = cx.all("options");
        let options = options.iter().map(String::as_str);
        let options = values::read(options, &mut *cx.console.input)?;
        let mut body = json!({
            "type": kind,
            "description": cx.text("description").unwrap_or_default(),
            "options": options,
        });
        if cx.is_on("local") {
            body["local"] = true.into();
        }
        let reply = cx
            .client()?
            .write(&format!("sys/audit/{path}"), &body)
            .await;
        reply.map_err(Failure::of("Error enabling audit device"))?;
        cx.console.print(&format!(
            "Success! Enabled the {kind} audit device at: {path}/"
        ))?;
        Ok(0)
    }
}

pub(super) mod disable {
    //! `audit disable`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "disable",
            "Remove an audit device",
            "Its file stays. The last device that counts cannot be removed.",
            "zonehead audit disable second/",
        );
        connected(command.arg(required("path", "PATH", "The device.")))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let path = trimmed(cx.required("path")).to_owned();
        let reply = cx.client()?.delete(&format!("sys/audit/{path}"), &[]).await;
        reply.map_err(Failure::of("Error disabling audit device"))?;
        let text = format!("Success! Disabled audit device (if it was enabled) at: {path}/");
        cx.console.print(&text)?;
        Ok(0)
    }
}
