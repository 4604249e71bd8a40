//! The certificate authority.

use super::{Field, Route, delete, flag, list, number, patch, read, text, texts, time, write};

const ROLE: &[Field] = &[
    flag("allow_localhost", "Whether localhost is allowed"),
    flag(
        "allow_bare_domains",
        "Whether the allowed domains themselves are",
    ),
    flag("allow_subdomains", "Whether names below them are"),
    flag("allow_glob_domains", "Whether they may hold *"),
    flag(
        "allow_wildcard_certificates",
        "Whether *.name may be issued",
    ),
    flag("allow_any_name", "Whether any name is allowed"),
    flag("enforce_hostnames", "Whether names must be host names"),
    flag("allow_ip_sans", "Whether addresses are allowed"),
    flag("server_flag", ""),
    flag("client_flag", ""),
    flag("code_signing_flag", ""),
    flag("email_protection_flag", ""),
    flag("use_csr_common_name", ""),
    flag("use_csr_sans", ""),
    flag("require_cn", "Whether a common name must be given"),
    flag("basic_constraints_valid_for_non_ca", ""),
    flag(
        "no_store",
        "Whether certificates are not kept; those cannot be revoked",
    ),
    texts("allowed_domains", "Domains that names may be of"),
    texts("allowed_uri_sans", ""),
    texts("allowed_other_sans", ""),
    texts("allowed_user_ids", ""),
    texts("allowed_serial_numbers", ""),
    texts("key_usage", ""),
    texts("ext_key_usage", ""),
    texts("ext_key_usage_oids", ""),
    texts("ou", ""),
    texts("organization", ""),
    texts("country", ""),
    texts("locality", ""),
    texts("province", ""),
    texts("street_address", ""),
    texts("postal_code", ""),
    texts("cn_validations", "email, hostname or disabled"),
    texts("policy_identifiers", ""),
    text("issuer_ref", "The issuer; default for the default one"),
    text("key_type", "rsa, ec, ed25519 or any"),
    number("key_bits", "0 for the type's usual"),
    number("signature_bits", "256, 384 or 512"),
    text("not_after", "A fixed end, in place of a TTL"),
    time("ttl", "Time to live"),
    time("max_ttl", "Longest time to live"),
    time(
        "not_before_duration",
        "How long before now certificates begin",
    ),
];

/// What leaves and roots have in common.
macro_rules! names {
    ($($more:expr),* $(,)?) => {
        &[
            text("common_name", "The common name"),
            texts("alt_names", "More names: DNS names and mail addresses"),
            texts("ip_sans", "Addresses"),
            texts("uri_sans", "URIs"),
            texts("other_sans", "OID;UTF8:value"),
            texts("user_ids", "User ids in the subject"),
            text("serial_number", "The serial number in the subject"),
            time("ttl", "Time to live"),
            text("not_after", "A fixed end, in place of a TTL"),
            flag("exclude_cn_from_sans", "Whether the common name is no alternative name"),
            text("format", "pem, der or pem_bundle"),
            text("private_key_format", "der or pkcs8"),
            flag("remove_roots_from_chain", "Whether roots are left out of the chain"),
            $($more),*
        ]
    };
}

const ISSUE: &[Field] = names![];
const SIGN: &[Field] = names![text("csr", "The request, in PEM")];
const ROOT: &[Field] = names![
    text("key_type", "rsa, ec or ed25519"),
    number("key_bits", "0 for the type's usual"),
    number("signature_bits", "256, 384 or 512"),
    time("not_before_duration", "How long before now it begins"),
    number("max_path_length", "Authorities below it; -1 for any number"),
    texts("permitted_dns_domains", "The only domains below it"),
    texts("excluded_dns_domains", "Domains that are not below it"),
    texts("permitted_ip_ranges", "The only addresses below it"),
    texts("excluded_ip_ranges", "Addresses that are not below it"),
    texts(
        "permitted_email_addresses",
        "The only mail addresses below it"
    ),
    texts(
        "excluded_email_addresses",
        "Mail addresses that are not below it"
    ),
    text("issuer_name", "A name for the issuer"),
    text("key_name", "A name for its key"),
    texts("country", ""),
    texts("organization", ""),
    texts("ou", ""),
    texts("locality", ""),
    texts("province", ""),
    texts("street_address", ""),
    texts("postal_code", ""),
];
const ISSUER: &[Field] = &[
    text("issuer_name", "Its name"),
    texts("manual_chain", "The issuers of its chain"),
    texts("issuing_certificates", "Where its certificate can be got"),
    texts("crl_distribution_points", "Where its list can be got"),
    texts("ocsp_servers", "Where it can be asked about a certificate"),
    flag("enable_aia_url_templating", ""),
];
const IMPORT: &[Field] = &[text("pem_bundle", "Certificates and keys, in PEM")];
const PAGE: &[Field] = &[
    text("after", "Only serial numbers behind this one"),
    number("limit", "At most so many"),
];
const DEFAULT: &[Field] = &[text("default", "Its id or name")];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "ca",
        about: "The default issuer's certificate, in DER",
        does: &[read(&[])],
    },
    Route {
        pattern: "ca/pem",
        about: "The same in PEM",
        does: &[read(&[])],
    },
    Route {
        pattern: "ca_chain",
        about: "The default issuer's chain, in PEM",
        does: &[read(&[])],
    },
    Route {
        pattern: "cert/ca",
        about: "The default issuer's certificate",
        does: &[read(&[])],
    },
    Route {
        pattern: "cert/ca_chain",
        about: "The default issuer's chain",
        does: &[read(&[])],
    },
    Route {
        pattern: "cert/crl",
        about: "The default issuer's list",
        does: &[read(&[])],
    },
    Route {
        pattern: "cert/{serial}",
        about: "A certificate",
        does: &[read(&[])],
    },
    Route {
        pattern: "cert/{serial}/raw",
        about: "The same in DER",
        does: &[read(&[])],
    },
    Route {
        pattern: "cert/{serial}/raw/pem",
        about: "The same in PEM",
        does: &[read(&[])],
    },
    Route {
        pattern: "certs",
        about: "Serial numbers of all certificates",
        does: &[list(PAGE)],
    },
    Route {
        pattern: "certs/revoked",
        about: "Serial numbers of the revoked ones",
        does: &[list(PAGE)],
    },
    Route {
        pattern: "config/ca",
        about: "Imports issuers and keys",
        does: &[write(IMPORT)],
    },
    Route {
        pattern: "config/crl",
        about: "How lists are made",
        does: &[
            read(&[]),
            write(&[
                time("expiry", "How long a list is valid"),
                flag("auto_rebuild", "Whether lists are made before they end"),
                time("auto_rebuild_grace_period", "How long before"),
            ]),
        ],
    },
    Route {
        pattern: "config/issuers",
        about: "The default issuer",
        does: &[
            read(&[]),
            write(&[
                text("default", "Its id or name"),
                flag(
                    "default_follows_latest_issuer",
                    "Whether a new issuer becomes the default",
                ),
            ]),
        ],
    },
    Route {
        pattern: "config/keys",
        about: "The default key",
        does: &[read(&[]), write(DEFAULT)],
    },
    Route {
        pattern: "config/urls",
        about: "Where certificates say that lists and issuers are",
        does: &[
            read(&[]),
            write(&[
                texts(
                    "issuing_certificates",
                    "Where the issuer's certificate can be got",
                ),
                texts("crl_distribution_points", "Where its list can be got"),
                texts("ocsp_servers", "Where it can be asked about a certificate"),
                flag("enable_templating", ""),
            ]),
        ],
    },
    Route {
        pattern: "crl",
        about: "The default issuer's complete list, in DER",
        does: &[read(&[])],
    },
    Route {
        pattern: "crl/pem",
        about: "The same in PEM",
        does: &[read(&[])],
    },
    Route {
        pattern: "crl/chain",
        about: "A complete list for each authority of the chain, in PEM",
        does: &[read(&[])],
    },
    Route {
        pattern: "crl/rotate",
        about: "Makes the lists anew",
        does: &[read(&[]), write(&[])],
    },
    Route {
        pattern: "crl/shard/{number}",
        about: "The list of one shard, in DER",
        does: &[read(&[])],
    },
    Route {
        pattern: "issue/{role}",
        about: "Makes a key and a certificate",
        does: &[write(ISSUE)],
    },
    Route {
        pattern: "sign/{role}",
        about: "Signs a request",
        does: &[write(SIGN)],
    },
    Route {
        pattern: "issuer/{issuer_ref}",
        about: "An issuer",
        does: &[read(&[]), write(ISSUER), patch(ISSUER), delete()],
    },
    Route {
        pattern: "issuer/{issuer_ref}/json",
        about: "Its certificate and chain",
        does: &[read(&[])],
    },
    Route {
        pattern: "issuer/{issuer_ref}/der",
        about: "Its certificate in DER",
        does: &[read(&[])],
    },
    Route {
        pattern: "issuer/{issuer_ref}/pem",
        about: "Its certificate in PEM",
        does: &[read(&[])],
    },
    Route {
        pattern: "issuer/{issuer_ref}/crl",
        about: "Its complete list",
        does: &[read(&[])],
    },
    Route {
        pattern: "issuer/{issuer_ref}/crl/der",
        about: "The same in DER",
        does: &[read(&[])],
    },
    Route {
        pattern: "issuer/{issuer_ref}/crl/pem",
        about: "The same in PEM",
        does: &[read(&[])],
    },
    Route {
        pattern: "issuer/{issuer_ref}/issue/{role}",
        about: "Makes a key and a certificate of this issuer",
        does: &[write(ISSUE)],
    },
    Route {
        pattern: "issuer/{issuer_ref}/sign/{role}",
        about: "Signs a request with this issuer",
        does: &[write(SIGN)],
    },
    Route {
        pattern: "issuers",
        about: "All issuers",
        does: &[list(&[])],
    },
    Route {
        pattern: "issuers/generate/root/{exported}",
        about: "Makes a root; exported or internal: whether its key is shown",
        does: &[write(ROOT)],
    },
    Route {
        pattern: "issuers/import/bundle",
        about: "Imports issuers and keys",
        does: &[write(IMPORT)],
    },
    Route {
        pattern: "issuers/import/cert",
        about: "Imports issuers",
        does: &[write(IMPORT)],
    },
    Route {
        pattern: "key/{key_ref}",
        about: "A key",
        does: &[read(&[]), write(&[text("key_name", "Its name")]), delete()],
    },
    Route {
        pattern: "keys",
        about: "All keys",
        does: &[list(&[])],
    },
    Route {
        pattern: "revoke",
        about: "Revokes a certificate",
        does: &[write(&[
            text("serial_number", "Its serial number"),
            text("certificate", "Or itself, in PEM"),
        ])],
    },
    Route {
        pattern: "roles",
        about: "All roles",
        does: &[list(&[])],
    },
    Route {
        pattern: "roles/{name}",
        about: "A role: what may be issued",
        does: &[read(&[]), write(ROLE), patch(ROLE), delete()],
    },
    Route {
        pattern: "root/generate/{exported}",
        about: "Makes a root; exported or internal: whether its key is shown",
        does: &[write(ROOT)],
    },
    Route {
        pattern: "root/replace",
        about: "Makes another issuer the default",
        does: &[write(DEFAULT)],
    },
];
