//! An authority of a test's own, a server that it vouches for, and a client.

use std::fs;
use std::path::PathBuf;

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

/// Certificates in files of a folder, which goes with the value.
#[derive(Debug)]
pub struct Files(PathBuf);

impl Certificates {
    /// Writes what a client needs into files.
    ///
    /// # Panics
    /// If there is no place for them.
    #[must_use]
    pub fn files(&self) -> Files {
        let id = KeyPair::generate().expect("there is randomness").serialize_der();
        let name = id.iter().rev().take(8).fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        let folder = std::env::temp_dir().join(format!("periplus-certificates-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is a folder for temporary files");
        let (certificate, key) = &self.client;
        for (name, pem) in [("root.pem", &self.root), ("client.pem", certificate), ("client.key", key)] {
            fs::write(folder.join(name), pem).expect("a folder of one's own can be written to");
        }
        Files(folder)
    }
}

impl Files {
    /// The file of the authority.
    #[must_use]
    pub fn root(&self) -> String {
        self.0.join("root.pem").display().to_string()
    }

    /// All of them, as the options of an address name them.
    #[must_use]
    pub fn query(&self) -> String {
        let path = |name: &str| self.0.join(name).display().to_string();
        format!("ca_file={}&cert_file={}&key_file={}", self.root(), path("client.pem"), path("client.key"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("there is randomness")
}
