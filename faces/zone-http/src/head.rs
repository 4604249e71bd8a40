//! What the head of a request says: whether it is let in, by whom it was sent, with which token.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use zone_types::Secret;

use crate::app::{ListenerRules, Outbound};
use crate::limits;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
/// The namespace of a request; echoed in the answer.
pub(crate) const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
const WRAP_FORMAT: HeaderName = HeaderName::from_static("x-vault-wrap-format");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Fields of which two could be judged by one and obeyed by another.
const SINGLE: [HeaderName; 7] = [
    HOST,
    TOKEN,
    AUTHORIZATION,
    NAMESPACE,
    WRAP_TTL,
    WRAP_FORMAT,
    CONTENT_TYPE,
];

impl ListenerRules {
    /// Whether a request with this head is looked at. Content-Length together with
    /// Transfer-Encoding does not come this far: hyper reads such a body by its chunks and closes
    /// the connection behind it (RFC 9112, 6.1).
    pub(crate) fn judge(&self, parts: &Parts) -> Result<(), Outbound> {
        let headers = &parts.headers;
        for name in &SINGLE {
            if headers.get_all(name).iter().nth(1).is_some() {
                return Err(Outbound::error(400, &format!("more than one {name}")));
            }
        }
        if parts.version == Version::HTTP_11 && !headers.contains_key(HOST) {
            return Err(Outbound::error(400, "the request has no Host"));
        }
        if self.loopback_hosts_only && !names_loopback(parts) {
            let text = "this zone answers to loopback names only: use 127.0.0.1 or localhost";
            return Err(Outbound::error(403, text));
        }
        let size =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        if headers.iter().map(size).sum::<usize>() > limits::HEAD {
            return Err(Outbound::error(
                431,
                "the header fields are larger than 64 KiB",
            ));
        }
        judge_vault(headers)
    }

    /// Whether `X-Forwarded-For` is there where it must be, and only where it may be.
    pub(crate) fn judge_forwarded(
        &self,
        headers: &HeaderMap,
        remote: SocketAddr,
    ) -> Result<(), Outbound> {
        let present = headers.contains_key(FORWARDED_FOR);
        if self.forwarded_only && !present {
            let text = "this listener serves requests with X-Forwarded-For alone";
            return Err(Outbound::error(400, text));
        }
        if self.forged_is_refused && present && !self.trusts(remote.ip().to_canonical()) {
            let text = "X-Forwarded-For comes from an address that is not a trusted proxy";
            return Err(Outbound::error(400, text));
        }
        Ok(())
    }

    /// The client's address: the peer's, unless the peer is a trusted proxy; then the last
    /// address of `X-Forwarded-For` that is not a trusted proxy itself (attack 6). What no
    /// address can be read from ends the search: what stands before it may be forged.
    pub(crate) fn client(&self, headers: &HeaderMap, remote: SocketAddr) -> SocketAddr {
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        if !self.trusts(remote.ip()) {
            return remote;
        }
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        for line in lines.into_iter().rev() {
            for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
                match address(hop) {
                    Some(address) if self.trusts(address) => {}
                    Some(address) => return SocketAddr::new(address, 0),
                    None => return remote,
                }
            }
        }
        remote
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|proxy| proxy.holds(address))
    }
}

/// What Vault's clients may ask for by header and nobody here can do is refused, so that nobody
/// takes it for done.
fn judge_vault(headers: &HeaderMap) -> Result<(), Outbound> {
    let other =
        |namespace: &HeaderValue| !matches!(namespace.as_bytes(), b"" | b"root" | b"/" | b"root/");
    if headers.get(NAMESPACE).is_some_and(other) {
        return Err(Outbound::error(404, "namespace not found"));
    }
    if headers
        .get(WRAP_FORMAT)
        .is_some_and(|format| !format.is_empty())
    {
        let text = "X-Vault-Wrap-Format: wrapping tokens have one form alone";
        return Err(Outbound::error(400, text));
    }
    // Whoever asks for a wrapped answer must not get it in clear.
    wrap_ttl(headers).map(|_| ())
}

/// How long the wrapped answer is to be kept; `None`: it is not to be wrapped. A part of a second
/// counts as one.
pub(crate) fn wrap_ttl(headers: &HeaderMap) -> Result<Option<Duration>, Outbound> {
    let Some(value) = headers.get(WRAP_TTL) else {
        return Ok(None);
    };
    let refused = |text: &str| Outbound::error(400, &format!("X-Vault-Wrap-TTL: {text}"));
    let text = value.to_str().map_err(|_| refused("not a time"))?;
    let span = zone_types::parse_duration(text).map_err(|fault| refused(&fault.to_string()))?;
    let secs = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    if secs > zone_access::MAX_TTL_SECS {
        return Err(refused("at most 768h"));
    }
    Ok((secs > 0).then(|| Duration::from_secs(secs)))
}

/// An address of `X-Forwarded-For`; some proxies add the port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Whether each name that the request gives for this zone, and at least one, is a loopback name.
fn names_loopback(parts: &Parts) -> bool {
    let host = parts.headers.get(HOST).map(|host| {
        let text = host.to_str().unwrap_or("");
        text.parse::<Authority>()
            .is_ok_and(|name| is_loopback(&name))
    });
    let target = parts.uri.authority().map(is_loopback);
    match (host, target) {
        (None, None) => false,
        (host, target) => host.unwrap_or(true) && target.unwrap_or(true),
    }
}

fn is_loopback(name: &Authority) -> bool {
    let bare = name.host();
    let bare = bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(bare);
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Takes the token out of the head: `X-Vault-Token`, or else the bearer token. One that is no
/// text counts as a token, a wrong one.
pub(crate) fn take_token(headers: &mut HeaderMap) -> Option<Secret<String>> {
    let (own, bearer) = (headers.remove(TOKEN), headers.remove(AUTHORIZATION));
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    match own {
        Some(token) if !token.is_empty() => Some(Secret::new(text(&token))),
        _ => {
            let value = Secret::new(text(&bearer?));
            let (scheme, token) = value.expose().split_once(' ')?;
            let bearer = scheme.eq_ignore_ascii_case("bearer");
            bearer.then(|| Secret::new(token.trim().to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn judged(rules: &ListenerRules, uri: &str, fields: &[(&str, &str)]) -> u16 {
        let refused = rules.judge(&parts(uri, fields)).err();
        refused.map_or(0, |outbound| outbound.status)
    }

    #[test]
    fn attack_dns_rebinding_only_loopback_names_are_served() {
        let rules = ListenerRules {
            loopback_hosts_only: true,
            ..ListenerRules::default()
        };
        for host in [
            "localhost",
            "LOCALHOST:8200",
            "127.0.0.1",
            "127.0.0.1:8200",
            "127.9.9.9",
            "[::1]",
            "[::1]:8200",
        ] {
            assert_eq!(judged(&rules, "/v1/x", &[("host", host)]), 0, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost.",
            "127.1",
            "2130706433",
            "0.0.0.0",
            "[::]",
            "[[::1]]",
            "10.0.0.1:8200",
            "",
            "local host",
            "localhost,evil.example",
        ] {
            assert_eq!(judged(&rules, "/v1/x", &[("host", host)]), 403, "{host}");
        }
        let there = "http://evil.example/v1/x";
        assert_eq!(judged(&rules, there, &[("host", "localhost")]), 403);
        let here = "http://localhost/v1/x";
        assert_eq!(judged(&rules, here, &[("host", "evil.example")]), 403);
        assert_eq!(judged(&rules, here, &[("host", "127.0.0.1")]), 0);
        let http2 = |uri: &str| {
            let mut parts = parts(uri, &[]);
            parts.version = Version::HTTP_2;
            rules.judge(&parts).is_ok()
        };
        assert!(http2(here) && !http2(there) && !http2("/v1/x"));
    }

    #[test]
    fn a_host_is_named_once() {
        let rules = ListenerRules::default();
        assert_eq!(judged(&rules, "/v1/x", &[("host", "any.example")]), 0);
        assert_eq!(judged(&rules, "/v1/x", &[]), 400);
        let twice = [("host", "a"), ("host", "a")];
        assert_eq!(judged(&rules, "/v1/x", &twice), 400);
    }

    #[test]
    fn fields_that_decide_stand_once() {
        let rules = ListenerRules::default();
        for name in [
            "x-vault-token",
            "authorization",
            "content-type",
            "x-vault-namespace",
        ] {
            let once = [("host", "x"), (name, "")];
            assert_eq!(judged(&rules, "/v1/x", &once), 0, "{name}");
            let twice = [("host", "x"), (name, ""), (name, "")];
            assert_eq!(judged(&rules, "/v1/x", &twice), 400, "{name}");
        }
    }

    #[test]
    fn wrapping_and_namespaces_are_never_passed_over() {
        let rules = ListenerRules::default();
        let with =
            |name: &str, value: &str| judged(&rules, "/v1/x", &[("host", "x"), (name, value)]);
        for ttl in ["", "0", "0s"] {
            assert_eq!(with("X-Vault-Wrap-TTL", ttl), 0, "{ttl}");
        }
        for ttl in ["rubbish", "-1", "-1s", "769h", "99999999999h", "\u{fc}"] {
            assert_eq!(with("X-Vault-Wrap-TTL", ttl), 400, "{ttl}");
        }
        let asked = |ttl: &str| {
            let found = wrap_ttl(&parts("/", &[("x-vault-wrap-ttl", ttl)]).headers);
            found.ok().flatten().map(|ttl| ttl.as_secs())
        };
        for (ttl, secs) in [
            ("60", 60),
            ("5m", 300),
            ("1ms", 1),
            ("1.5s", 2),
            ("768h", 2_764_800),
        ] {
            assert_eq!(asked(ttl), Some(secs), "{ttl}");
        }
        for ttl in ["", "0", "00", "0s"] {
            assert_eq!(asked(ttl), None, "{ttl}");
        }
        assert_eq!(with("X-Vault-Wrap-Format", ""), 0);
        assert_eq!(with("X-Vault-Wrap-Format", "jwt"), 400);
        for namespace in ["", "root", "/", "root/"] {
            assert_eq!(with("X-Vault-Namespace", namespace), 0, "{namespace}");
        }
        for namespace in ["team", "root/team", "Root", " root/x", "//"] {
            assert_eq!(with("X-Vault-Namespace", namespace), 404, "{namespace}");
        }
    }

    #[test]
    fn heads_over_the_limit_are_431() {
        let rules = ListenerRules::default();
        let value = "h".repeat(limits::HEAD);
        let fields = |length: usize| [("host", "x"), ("x-large", &value[..length])].map(|f| f);
        assert_eq!(judged(&rules, "/v1/x", &fields(limits::HEAD - 100)), 0);
        assert_eq!(judged(&rules, "/v1/x", &fields(limits::HEAD - 10)), 431);
    }

    #[test]
    fn attack_6_only_what_a_trusted_proxy_added_counts() {
        let rules = ListenerRules {
            trusted_proxies: vec!["10.0.0.9".parse().unwrap(), "10.0.0.8/32".parse().unwrap()],
            ..ListenerRules::default()
        };
        let from = |remote: &str, fields: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in fields {
                headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
            }
            rules.client(&headers, remote.parse().unwrap()).to_string()
        };
        assert_eq!(from("1.2.3.4:5", &[b"7.7.7.7"]), "1.2.3.4:5");
        assert_eq!(from("[::ffff:1.2.3.4]:5", &[]), "1.2.3.4:5");
        for proxy in ["10.0.0.9:5", "[::ffff:10.0.0.9]:5", "10.0.0.8:5"] {
            assert_eq!(from(proxy, &[b"7.7.7.7"]), "7.7.7.7:0", "{proxy}");
        }
        let own = "10.0.0.9:5";
        for (fields, client) in [
            (&[][..], own),
            (&[&b""[..]], own),
            (&[b"6.6.6.6, 7.7.7.7"], "7.7.7.7:0"),
            (&[b"6.6.6.6", b"7.7.7.7"], "7.7.7.7:0"),
            (&[b"6.6.6.6,7.7.7.7, 10.0.0.9 ,10.0.0.8"], "7.7.7.7:0"),
            (&[b"7.7.7.7:4711"], "7.7.7.7:0"),
            (&[b"[2001:db8::1]:4711"], "[2001:db8::1]:0"),
            (&[b"2001:db8::1"], "[2001:db8::1]:0"),
            (&[b"::ffff:7.7.7.7"], "7.7.7.7:0"),
            (&[b"10.0.0.9, 10.0.0.8"], own),
            // Whatever follows what cannot be read is what counts, nothing before it.
            (&[b"6.6.6.6, rubbish"], own),
            (&[b"6.6.6.6, "], own),
            (&[b"6.6.6.6", b"\xff, rubbish"], own),
            (&[b"6.6.6.6", b"\xff"], own),
            (&[b"6.6.6.6", b"\xff, 7.7.7.7"], "7.7.7.7:0"),
            (&[b"unknown, 7.7.7.7"], "7.7.7.7:0"),
        ] {
            assert_eq!(from(own, fields), client, "{fields:?}");
        }
    }

    #[test]
    fn attack_6_forwarding_rules_refuse_what_comes_past_the_proxy() {
        let judged = |rules: &ListenerRules, remote: &str, field: Option<&str>| {
            let fields: Vec<_> = field
                .map(|value| ("x-forwarded-for", value))
                .into_iter()
                .collect();
            let headers = parts("/", &fields).headers;
            let refused = rules
                .judge_forwarded(&headers, remote.parse().unwrap())
                .err();
            refused.map_or(0, |outbound| outbound.status)
        };
        let open = ListenerRules::default();
        assert_eq!(judged(&open, "1.2.3.4:5", None), 0);
        assert_eq!(judged(&open, "1.2.3.4:5", Some("7.7.7.7")), 0);
        let strict = ListenerRules {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            forwarded_only: true,
            forged_is_refused: true,
            ..ListenerRules::default()
        };
        assert_eq!(judged(&strict, "10.1.1.1:5", Some("7.7.7.7")), 0);
        assert_eq!(judged(&strict, "[::ffff:10.1.1.1]:5", Some("7.7.7.7")), 0);
        assert_eq!(judged(&strict, "10.1.1.1:5", None), 400);
        assert_eq!(judged(&strict, "1.2.3.4:5", None), 400);
        assert_eq!(judged(&strict, "1.2.3.4:5", Some("10.0.0.1")), 400);
    }

    #[test]
    fn tokens_come_in_two_fields_and_leave_the_head() {
        let token = |fields: &[(&str, &str)]| {
            let mut headers = parts("/", fields).headers;
            let token = take_token(&mut headers);
            assert!(headers.is_empty());
            token.map(|token| token.expose().clone())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("x-vault-token", "hvs.a")]), some("hvs.a"));
        assert_eq!(token(&[("authorization", "Bearer hvs.b")]), some("hvs.b"));
        assert_eq!(token(&[("authorization", "bearer  hvs.b ")]), some("hvs.b"));
        assert_eq!(token(&[("authorization", "Basic aHZzLmI=")]), None);
        assert_eq!(token(&[("authorization", "hvs.b")]), None);
        let both = [
            ("x-vault-token", "hvs.a"),
            ("authorization", "Bearer hvs.b"),
        ];
        assert_eq!(token(&both), some("hvs.a"));
        let empty = [("x-vault-token", ""), ("authorization", "Bearer hvs.b")];
        assert_eq!(token(&empty), some("hvs.b"));
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, HeaderValue::from_bytes(b"hvs.\xff").unwrap());
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer hvs.b"));
        assert_ne!(take_token(&mut headers).unwrap().expose(), "hvs.b");
    }
}
