//! An authority of a test's own, a server that it vouches for, and a client.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// An authority and what it has signed, all as PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub root: String,
    /// The certificate of a server on loopback, and its key.
    pub server: (String, String),
    /// The certificate of a client, and its key.
    pub client: (String, String),
}

impl Certificates {
    /// A new authority, which nobody else believes. `server` is the name of the server beside `localhost` and its address.
    ///
    /// # Panics
    /// If no keys can be made.
    #[must_use]
    pub fn new(server: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, key()).expect("it can sign itself");
        let sign = |names: &[&str], common: &str, usages: &[ExtendedKeyUsagePurpose]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names).expect("they are names");
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, common);
            params.extended_key_usages = usages.to_vec();
            let key = key();
            let certificate = params.signed_by(&key, &authority).expect("it can sign others");
            (certificate.pem(), key.serialize_pem())
        };
        // A server of etcd calls itself with the certificate that it serves with.
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Self {
            root: authority.pem(),
            server: sign(&["localhost", "127.0.0.1", server], server, &both),
            client: sign(&["client.example"], "client", &[ExtendedKeyUsagePurpose::ClientAuth]),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("there is randomness")
}
