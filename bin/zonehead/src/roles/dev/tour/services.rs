//! The steps with the two services: certificates, mutual TLS, rotation, revocation.

use rustls::AlertDescription;
use rustls_pki_types::CertificateDer;
use zone_cli::client::Client;

use super::authority::{Authority, Identity, TTL, Trust};
use super::claim;
use super::ledger::Ledger;
use super::orders::{Orders, is_wrong_name};
use super::screen::Screen;
use super::traffic::{CALLERS, Traffic};

const ORDERS: &str = "orders.svc.test";
const LEDGER: &str = "ledger.svc.test";
/// A name that the ledger does not have.
const BILLING: &str = "billing.svc.test";
/// What the ledger answers to whom it takes for [`ORDERS`].
const ANSWER: &str = "balance for orders.svc.test";
/// Requests before and after the exchange of a certificate, at least.
const REQUESTS: u64 = 60;

/// Both services as they are now.
pub(super) struct Services<'a> {
    authority: Authority<'a>,
    trust: Trust,
    orders: Identity,
    ledger: Identity,
    server: Ledger,
}

impl<'a> Services<'a> {
    /// Issues the certificates and starts the ledger.
    pub(super) async fn start(client: &'a Client, screen: &mut Screen) -> anyhow::Result<Self> {
        screen.step("Two services get certificates from the zone's CA")?;
        let authority = Authority(client);
        let trust = authority.trust().await?;
        let orders = authority.issue(ORDERS).await?;
        show(screen, ORDERS, &orders)?;
        let ledger = authority.issue(LEDGER).await?;
        show(screen, LEDGER, &ledger)?;
        screen.command(&issuing(ORDERS))?;
        screen.command(&issuing(LEDGER))?;
        let server = Ledger::start(&ledger, &trust).await?;
        Ok(Self {
            authority,
            trust,
            orders,
            ledger,
            server,
        })
    }

    /// Each proves its name to the other; who cannot is refused.
    pub(super) async fn talk(&self, screen: &mut Screen) -> anyhow::Result<()> {
        screen.step("They talk mutual TLS")?;
        let shown = self.call(&self.orders).await?;
        claim(shown == *self.ledger.leaf(), || {
            "that is another ledger".into()
        })?;
        screen.shown(&format!(
            "{ORDERS} asked {LEDGER}; each proved its name to the other"
        ))?;
        self.refuses(None, AlertDescription::CertificateRequired)
            .await?;
        screen.shown("a caller without a certificate was refused")?;
        let elsewhere = self.caller(Some(&self.orders), BILLING)?.connect().await;
        let refused = elsewhere.err().is_some_and(|error| is_wrong_name(&error));
        claim(refused, || format!("{LEDGER} was not refused for its name"))?;
        screen.shown(&format!(
            "{ORDERS} refused the ledger when it expected {BILLING}"
        ))?;
        screen.command("zonehead read -field=certificate pki/cert/ca")?;
        screen.command("zonehead read -field=certificate pki/cert/crl")?;
        Ok(())
    }

    /// Exchanges the ledger's certificate while it is called all the time.
    pub(super) async fn rotate(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        screen.step(&format!("{LEDGER} gets a new certificate under traffic"))?;
        let traffic = Traffic::start(&self.caller(Some(&self.orders), LEDGER)?, ANSWER);
        traffic.reach(self.ledger.leaf(), REQUESTS).await?;
        let new = self.authority.issue(LEDGER).await?;
        self.server.reload(&new, &self.trust)?;
        traffic.reach(new.leaf(), REQUESTS).await?;
        let tally = traffic.stop().await;
        tally.no_failure()?;
        let shown = self.call(&self.orders).await?;
        claim(shown == *new.leaf(), || {
            "the old certificate is still shown".into()
        })?;
        show(screen, LEDGER, &new)?;
        let (before, after) = (tally.under(self.ledger.leaf()), tally.under(new.leaf()));
        screen.shown(&format!(
            "{} requests by {CALLERS} callers: {before} under the old certificate, {after} under \
             the new one, {} failed",
            before + after,
            tally.failed
        ))?;
        screen.command(&issuing(LEDGER))?;
        self.ledger = new;
        Ok(())
    }

    /// Revokes the certificate of orders; the id of the request that did it.
    pub(super) async fn revoke(&mut self, screen: &mut Screen) -> anyhow::Result<String> {
        screen.step(&format!("The certificate of {ORDERS} is revoked"))?;
        let serial = &self.orders.serial;
        self.call(&self.orders).await?;
        let request = self.authority.revoke(serial).await?;
        self.trust = self.authority.trust().await?;
        self.server.reload(&self.ledger, &self.trust)?;
        let revoked = AlertDescription::CertificateRevoked;
        self.refuses(Some(&self.orders), revoked).await?;
        screen.shown("the ledger read the CA's list again and refused: certificate revoked")?;
        screen.command(&format!("zonehead write pki/revoke serial_number={serial}"))?;
        let new = self.authority.issue(ORDERS).await?;
        self.call(&new).await?;
        self.refuses(Some(&self.orders), revoked).await?;
        show(screen, ORDERS, &new)?;
        screen.shown("with this one it is answered again; with the old one it is not")?;
        screen.command(&issuing(ORDERS))?;
        self.orders = new;
        Ok(request)
    }

    /// One request, which must be answered; the certificate that the ledger showed.
    async fn call(&self, identity: &Identity) -> anyhow::Result<CertificateDer<'static>> {
        let mut connection = self.caller(Some(identity), LEDGER)?.connect().await?;
        let answer = connection.ask("balance").await?;
        claim(answer == ANSWER, || {
            format!("the ledger answered {answer:?}")
        })?;
        Ok(connection.leaf)
    }

    /// One request, which must be refused with this alert.
    async fn refuses(
        &self,
        identity: Option<&Identity>,
        alert: AlertDescription,
    ) -> anyhow::Result<()> {
        let refusal = self.caller(identity, LEDGER)?.refusal().await?;
        claim(refusal == alert, || {
            format!("refused for another reason: {refusal:?}")
        })
    }

    fn caller(&self, identity: Option<&Identity>, name: &'static str) -> anyhow::Result<Orders> {
        Orders::new(identity, &self.trust, self.server.address, name)
    }
}

fn show(screen: &mut Screen, name: &str, identity: &Identity) -> std::io::Result<()> {
    let Identity { serial, until, .. } = identity;
    screen.shown(&format!("{name} until {until}"))?;
    screen.note(&format!("serial {serial}"))
}

fn issuing(name: &str) -> String {
    format!("zonehead write pki/issue/service common_name={name} ttl={TTL}")
}
