//! Reading certification requests (PKCS#10, RFC 2986).
//!
//! What holds of every [`Request`]: it is signed by the key that it asks to have certified, which
//! is strong enough; it asks for extensions once at most, none of them twice, and not to be a CA;
//! it says one common name at most; every alternative name is of a kind that [`AltName`] has. What
//! else it wishes (usages, purposes, a challenge password) is for roles to say and is not read.

use const_oid::AssociatedOid;
use der::asn1::{AnyRef, SetOfVec};
use der::{Decode, Encode, Sequence};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix as ext;
use x509_cert::name::Name;
use x509_cert::request::{ExtensionReq, Version};
use zone_crypto::sign::{PublicKey, SignatureScheme};

use crate::certificate::{MAX_OBJECT, ParseFault, Signed, find, repeats};
use crate::names::{AltName, COMMON_NAME, Subject};
use crate::pem;

/// `CertificationRequestInfo` (RFC 2986 section 4.1).
#[derive(Sequence)]
struct Info<'a> {
    version: Version,
    subject: AnyRef<'a>,
    public_key: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Attribute>,
}

/// A request that was read and whose signature was checked.
#[derive(Clone, Debug)]
pub struct Request {
    public_key: PublicKey,
    subject: Subject,
    names: Vec<AltName>,
}

impl Request {
    /// Reads the one `CERTIFICATE REQUEST` block of a PEM text.
    pub fn from_pem(text: &str) -> Result<Self, ParseFault> {
        let mut found = pem::blocks(text, pem::REQUEST)?;
        found.extend(pem::blocks(text, pem::NEW_REQUEST)?);
        match &found[..] {
            [der] => Self::from_der(der),
            [] => Err(ParseFault::Pem {
                label: pem::REQUEST,
            }),
            _ => Err(ParseFault::Profile("more than one request")),
        }
    }

    /// Reads DER.
    pub fn from_der(der: &[u8]) -> Result<Self, ParseFault> {
        if der.len() > MAX_OBJECT {
            return Err(ParseFault::TooLong { limit: MAX_OBJECT });
        }
        let signed = Signed::parse(der)?;
        let info = Info::from_der(signed.body)?;
        let public_key = PublicKey::from_spki(&info.public_key.to_der()?)?;
        let scheme = SignatureScheme::from_algorithm_identifier(signed.algorithm).ok_or(
            ParseFault::Profile("the request's signature algorithm is not supported"),
        )?;
        public_key
            .verify(scheme, signed.body, signed.signature)
            .map_err(|_| ParseFault::Profile("the request is not signed by its own key"))?;
        let extensions = asked_extensions(&info.attributes)?;
        Ok(Self {
            public_key,
            subject: subject(&info.subject.to_der()?)?,
            names: alternative_names(&extensions)?,
        })
    }

    /// The key to be certified.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The subject that it asks for.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The alternative names that it asks for, as they stand there.
    pub fn alternative_names(&self) -> &[AltName] {
        &self.names
    }
}

fn subject(der: &[u8]) -> Result<Subject, ParseFault> {
    let name = Name::from_der(der)?;
    if name
        .iter()
        .filter(|attribute| attribute.oid == COMMON_NAME)
        .count()
        > 1
    {
        return Err(ParseFault::Profile(
            "the request has more than one common name",
        ));
    }
    Ok(Subject::from_der(der)?)
}

fn asked_extensions(attributes: &SetOfVec<Attribute>) -> Result<Vec<Extension>, ParseFault> {
    let mut asked = attributes
        .iter()
        .filter(|attribute| attribute.oid == ExtensionReq::OID);
    let (first, second) = (asked.next(), asked.next());
    let Some(attribute) = first else {
        return Ok(Vec::new());
    };
    if second.is_some() || attribute.values.len() != 1 {
        return Err(ParseFault::Profile(
            "the request asks for extensions more than once",
        ));
    }
    let value = attribute
        .values
        .get(0)
        .map(Encode::to_der)
        .transpose()?
        .unwrap_or_default();
    let ExtensionReq(extensions) = ExtensionReq::from_der(&value)?;
    if repeats(&extensions) {
        return Err(ParseFault::Profile(
            "the request asks for an extension twice",
        ));
    }
    let basic: Option<ext::BasicConstraints> = decoded(&extensions)?;
    if basic.is_some_and(|basic| basic.ca) {
        return Err(ParseFault::Profile("the request asks to be a CA"));
    }
    Ok(extensions)
}

fn alternative_names(extensions: &[Extension]) -> Result<Vec<AltName>, ParseFault> {
    let names: Option<ext::SubjectAltName> = decoded(extensions)?;
    names
        .iter()
        .flat_map(|names| names.0.iter())
        .map(|name| {
            let kind = "an alternative name is of a kind that is not supported";
            AltName::from_general_name(name).ok_or(ParseFault::Profile(kind))
        })
        .collect()
}

/// An extension that is there must decode.
fn decoded<T: AssociatedOid + for<'a> Decode<'a>>(
    extensions: &[Extension],
) -> Result<Option<T>, ParseFault> {
    let is_there = extensions
        .iter()
        .any(|extension| extension.extn_id == T::OID);
    match find(extensions, T::OID) {
        None if is_there => Err(ParseFault::Profile(
            "an extension in the request is malformed",
        )),
        found => Ok(found),
    }
}
