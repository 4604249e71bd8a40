//! `cubbyhole/`: what a token keeps for itself.

use zone_access::{Access, Operation};

use super::exchange::{Answer, Call, Fault, Reply, to_raw};

/// Serves one permitted call below `cubbyhole/`.
pub(super) async fn handle(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let permit = &call.permit;
    match permit.operation() {
        Operation::Read => {
            let data = access.cubbyhole_read(permit).await?;
            Ok(Reply::Data(Answer {
                data: Some(data.ok_or_else(Fault::not_found)?),
                ..Answer::default()
            }))
        }
        Operation::List => Reply::keys(&access.cubbyhole_list(permit).await?),
        Operation::Create | Operation::Update => {
            if call.data.is_empty() {
                return Err(Fault::bad_request("missing data fields"));
            }
            access.cubbyhole_write(permit, to_raw(&call.data)?).await?;
            Ok(Reply::NoContent)
        }
        Operation::Delete => {
            access.cubbyhole_delete(permit).await?;
            Ok(Reply::NoContent)
        }
        Operation::Patch => Err(Fault::unsupported_operation()),
    }
}
