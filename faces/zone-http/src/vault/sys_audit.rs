//! `sys/audit` and `sys/audit-hash`: audit devices in Vault's shapes.

use std::collections::BTreeMap;

use serde_json::{Map, json};
use zone_access::Operation;
use zone_system::{AuditTarget, NewDevice, StreamTarget};
use zone_types::{Secret, parse_duration};

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use crate::Zone;

pub(super) async fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    match (call.permit.operation(), tail.trim_end_matches('/')) {
        (Operation::Read | Operation::List, "") => list(zone, call).await,
        (_, name) if writes(call) && !name.is_empty() => {
            let device = asked(call, name)?;
            zone.system.enable_audit(&call.permit, &device).await?;
            Ok(Reply::NoContent)
        }
        (Operation::Delete, name) if !name.is_empty() => {
            zone.system.disable_audit(&call.permit, name).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

async fn list(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let mut devices = Map::new();
    for device in zone.system.audit_devices(&call.permit).await? {
        let path = format!("{}/", device.path);
        let mut entry = json!({
            "type": device.target.kind(),
            "description": device.description,
            "options": device.options,
            "local": false,
            "path": path.clone(),
        });
        if let Some(key) = &device.public_key {
            entry["public_key"] = key.as_str().into();
        }
        devices.insert(path, entry);
    }
    Reply::data(&devices)
}

/// The device that a call describes.
fn asked(call: &Call, name: &str) -> Result<NewDevice, Fault> {
    let fields = Fields(&call.data);
    let kind = fields.text("type")?;
    let given = fields.text_map("options")?.unwrap_or_default();
    let mut options = Options(given.clone());
    let clear_accessors = !options.flag("hmac_accessor", true)?;
    let elide_lists = options.flag("elide_list_responses", false)?;
    let skip_test = options.flag("skip_test", false)?;
    let target = match kind.as_deref() {
        Some("file") => options.file()?,
        Some("syslog") => AuditTarget::Stream(StreamTarget::syslog(
            options.take("facility").as_deref(),
            options.take("tag").as_deref(),
            options.take("address").as_deref(),
        )?),
        Some("socket") => AuditTarget::Stream(options.socket()?),
        Some(_) => {
            return Err(Fault::bad_request(
                "field 'type': expected file, syslog or socket",
            ));
        }
        None => return Err(Fault::bad_request("missing type")),
    };
    options.refuse_the_rest()?;
    Ok(NewDevice {
        name: name.to_owned(),
        description: fields.text("description")?.unwrap_or_default(),
        target,
        clear_accessors,
        elide_lists,
        skip_test,
        options: given,
    })
}

/// The options of a device that nobody looked at yet.
struct Options(BTreeMap<String, String>);

impl Options {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, Fault> {
        match self.take(name).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(Fault::bad_request(format!(
                "options.{name}: expected true or false"
            ))),
        }
    }

    fn file(&mut self) -> Result<AuditTarget, Fault> {
        let (path, file) = (self.take("path"), self.take("file_path"));
        let file = file.or(path);
        let file = file.ok_or_else(|| Fault::bad_request("missing options.file_path"))?;
        if self.take("mode").is_some_and(|mode| mode != "0600") {
            return Err(Fault::bad_request("options.mode: an audit file has 0600"));
        }
        Ok(AuditTarget::File(file))
    }

    fn socket(&mut self) -> Result<StreamTarget, Fault> {
        let address = self.take("address");
        let address = address.ok_or_else(|| Fault::bad_request("missing options.address"))?;
        let timeout = self.take("write_timeout");
        let timeout = timeout.map(|text| parse_duration(&text)).transpose();
        let timeout = timeout
            .map_err(|fault| Fault::bad_request(format!("options.write_timeout: {fault}")))?;
        let kind = self.take("socket_type");
        let acknowledge = self.flag("acknowledge", false)?;
        Ok(StreamTarget::socket(
            &address,
            kind.as_deref(),
            timeout,
            acknowledge,
        )?)
    }

    /// An option that is not obeyed is refused: the operator would count on it.
    fn refuse_the_rest(self) -> Result<(), Fault> {
        for (option, value) in &self.0 {
            let (same, why) = match option.as_str() {
                "log_raw" => (value == "false", "no device writes values in the clear"),
                "format" => (value == "json", "lines are JSON"),
                "prefix" => (value.is_empty(), "a line begins with its time"),
                "fallback" => (
                    value == "false",
                    "every device records every request, so none is a fallback",
                ),
                "filter" | "exclude" => (
                    matches!(value.as_str(), "" | "[]"),
                    "every device records every request in full",
                ),
                _ => (false, "unknown for this type of device"),
            };
            if !same {
                let name: String = option
                    .chars()
                    .filter(char::is_ascii_graphic)
                    .take(64)
                    .collect();
                return Err(Fault::bad_request(format!("options.{name}: {why}")));
            }
        }
        Ok(())
    }
}

pub(super) async fn hash(zone: &Zone, call: &Call, name: &str) -> Result<Reply, Fault> {
    if !writes(call) || name.is_empty() {
        return Err(Fault::unsupported_operation());
    }
    let input = Secret::new(Fields(&call.data).required("input")?);
    let hash = zone.system.audit_hash(&call.permit, name, input.expose())?;
    let hash = hash.ok_or_else(|| Fault::bad_request("unknown audit backend"))?;
    Reply::data(&json!({ "hash": hash }))
}
