//! Cross-origin requests: which web pages a browser lets read the answers.
//!
//! Only what an operator set with `sys/config/cors` is answered, and only while the zone is open.
//! A request without `Origin` is no business of a browser's.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use zone_system::{Cors, Settings};

use crate::app::Outbound;

/// What pages may use.
const METHODS: [&str; 7] = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "LIST"];
/// What pages may always send.
pub(crate) const HEADERS: [&str; 9] = [
    "Content-Type",
    "X-Requested-With",
    "X-Vault-Namespace",
    "X-Vault-Request",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "Authorization",
    "X-Vault-Token",
];

/// What becomes of one request of a web page.
pub(crate) enum Verdict {
    /// It is none, or none are answered: the request goes on, and no page may read the answer.
    Pass,
    /// The page may not call.
    Refused,
    /// A question whether the page may: this is the answer.
    Preflight(Preflight),
    /// The request goes on, and this page may read the answer.
    Allowed(HeaderValue),
}

/// An answer to a preflight request.
pub(crate) struct Preflight {
    origin: HeaderValue,
    /// Whether the method is one that pages may use.
    may: bool,
    headers: HeaderValue,
}

impl Verdict {
    /// Judges a request under the zone's settings.
    pub(crate) fn of<B>(request: &Request<B>, settings: &Settings) -> Self {
        let Some(cors) = &settings.cors else {
            return Self::Pass;
        };
        let Some(origin) = request.headers().get(ORIGIN) else {
            return Self::Pass;
        };
        if !allows(cors, origin) {
            return Self::Refused;
        }
        if request.method() != Method::OPTIONS {
            return Self::Allowed(origin.clone());
        }
        let asked = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD);
        let asked = asked.and_then(|method| method.to_str().ok());
        Self::Preflight(Preflight {
            origin: origin.clone(),
            may: asked.is_some_and(|method| METHODS.contains(&method)),
            headers: allowed_headers(cors),
        })
    }

    /// The answer, if no API is to see the request.
    pub(crate) fn answer(&self) -> Option<Outbound> {
        match self {
            Self::Pass | Self::Allowed(_) => None,
            Self::Refused => Some(Outbound::error(403, "origin not allowed")),
            Self::Preflight(Preflight { may: true, .. }) => Some(Outbound::json(204, Vec::new())),
            Self::Preflight(_) => Some(Outbound::error(405, "method not allowed")),
        }
    }

    /// Adds the header fields that tell the browser.
    pub(crate) fn tell<B>(self, response: &mut Response<B>) {
        let headers: &mut HeaderMap = response.headers_mut();
        let origin = match self {
            Self::Pass | Self::Refused => return,
            Self::Allowed(origin) => origin,
            Self::Preflight(answer) => {
                if answer.may {
                    let methods =
                        HeaderValue::from_static("DELETE,GET,OPTIONS,PATCH,POST,PUT,LIST");
                    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
                    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, answer.headers);
                    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("300"));
                }
                answer.origin
            }
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
}

/// Byte for byte: browsers write an origin in one way.
fn allows(cors: &Cors, origin: &HeaderValue) -> bool {
    let origin = origin.as_bytes();
    let mut known = cors.allowed_origins.iter();
    known.any(|known| known == "*" || known.as_bytes() == origin)
}

fn allowed_headers(cors: &Cors) -> HeaderValue {
    let own = cors.allowed_headers.iter().map(String::as_str);
    let all: Vec<&str> = HEADERS.into_iter().chain(own).collect();
    // What operators give is judged when it is set.
    HeaderValue::from_str(&all.join(",")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_their_text_are_the_same() {
        assert_eq!(METHODS.join(","), "DELETE,GET,OPTIONS,PATCH,POST,PUT,LIST");
    }

    #[test]
    fn attack_an_origin_that_only_looks_alike_is_refused() {
        let cors = Cors {
            allowed_origins: vec!["https://ui.example".into()],
            allowed_headers: Vec::new(),
        };
        let settings = Settings {
            cors: Some(cors),
            ..Settings::default()
        };
        let refused = |origin: &str| {
            let request = Request::get("/v1/x").header("origin", origin).body(());
            matches!(Verdict::of(&request.unwrap(), &settings), Verdict::Refused)
        };
        assert!(!refused("https://ui.example"));
        for origin in [
            "https://ui.example.evil.example",
            "https://evil.example/https://ui.example",
            "http://ui.example",
            "https://UI.example",
            "https://ui.example:8443",
            "null",
            "*",
            "",
        ] {
            assert!(refused(origin), "{origin}");
        }
    }
}
