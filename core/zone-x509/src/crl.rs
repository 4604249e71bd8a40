//! Certificate revocation lists (RFC 5280 section 5).

use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

/// The URIs of a distribution point's full name.
pub(crate) fn point_uris(point: &DistributionPoint) -> Vec<String> {
    let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
        return Vec::new();
    };
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    names.iter().filter_map(uri).collect()
}
