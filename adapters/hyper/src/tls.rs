//! Whom to believe, and who to be.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::net::Io;

/// Which servers are believed, and what a server that asks is shown.
///
/// By default those are believed that a public authority vouches for (Mozilla's list, compiled in), and a server that
/// asks for a certificate is shown none.
#[derive(Clone)]
pub struct TlsConfig {
    public_roots: bool,
    roots: RootCertStore,
    identity: Option<Arc<SingleCertAndKey>>,
}

/// What is wrong with a certificate or a key. The config is lost: it was taken by value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is not PEM, or a section of it is cut or garbled.
    #[error("not PEM: {0}: give -----BEGIN …----- sections")]
    Pem(String),
    /// The PEM is fine and has no certificate in it.
    #[error("no certificate in it: give PEM with a CERTIFICATE section")]
    NoCertificate,
    /// The PEM is fine and has no private key in it.
    #[error("no private key in it: give PEM with a PRIVATE KEY section, not encrypted")]
    NoKey,
    /// A certificate or a key that cannot be used, or that do not belong together.
    #[error("certificate or key unusable: {0}")]
    Unusable(String),
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { public_roots: true, roots: RootCertStore::empty(), identity: None }
    }
}

impl TlsConfig {
    /// Believes too whom these certificates vouch for: PEM, one or many.
    ///
    /// # Errors
    /// If there is none, or one of them is unusable.
    pub fn with_roots(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        for certificate in certificates(pem)? {
            self.roots.add(certificate).map_err(|error| TlsError::Unusable(error.to_string()))?;
        }
        Ok(self)
    }

    /// [`with_roots`](Self::with_roots) of a file.
    ///
    /// # Errors
    /// As there, or if it cannot be read.
    pub fn with_root_file(self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        self.with_roots(&read(path.as_ref())?)
    }

    /// Believes no public authority, but only the roots that were given.
    #[must_use]
    pub fn without_public_roots(mut self) -> Self {
        self.public_roots = false;
        self
    }

    /// Shows a server that asks this certificate: PEM, with those that lead to its root after it, and its private key.
    ///
    /// # Errors
    /// If there is no certificate or no key, one of them is unusable, or they do not belong together.
    pub fn with_identity(mut self, certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        self.identity = Some(Arc::new(identity(certificate, key)?));
        Ok(self)
    }

    /// [`with_identity`](Self::with_identity) of two files.
    ///
    /// # Errors
    /// As there, or if one cannot be read.
    pub fn with_identity_files(self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        self.with_identity(&read(certificate.as_ref())?, &read(key.as_ref())?)
    }

    /// The TLS that an address asks for: with these roots in place of the public ones, if they are named, and this
    /// certificate and its key to show.
    ///
    /// # Errors
    /// As [`with_root_file`](Self::with_root_file) and [`with_identity_files`](Self::with_identity_files).
    pub fn of_files(roots: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<Self, TlsError> {
        let mut config = Self::default();
        if let Some(roots) = roots {
            config = config.with_root_file(roots)?.without_public_roots();
        }
        match identity {
            Some((certificate, key)) => config.with_identity_files(certificate, key),
            None => Ok(config),
        }
    }

    /// What makes connections secure as this says, and offers these protocols (ALPN).
    #[must_use]
    pub fn connector(&self, protocols: &[&[u8]]) -> tokio_rustls::TlsConnector {
        let mut config = self.client(ring::default_provider());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config).into()
    }

    fn client(&self, provider: CryptoProvider) -> ClientConfig {
        let mut roots = self.roots.clone();
        if self.public_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("ring serves TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(identity.clone()),
            None => builder.with_no_client_auth(),
        }
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("public_roots", &self.public_roots)
            .field("roots", &self.roots.len())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| TlsError::Pem(error.to_string()))?;
    if all.is_empty() { Err(TlsError::NoCertificate) } else { Ok(all) }
}

/// A certificate and its key, which belong together.
fn identity(certificate: &[u8], key: &[u8]) -> Result<SingleCertAndKey, TlsError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey,
        error => TlsError::Pem(error.to_string()),
    })?;
    let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
    Ok(SingleCertAndKey::from(pair.map_err(|error| TlsError::Unusable(error.to_string()))?))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })
}

/// Makes connections secure.
pub(crate) struct TlsConnector(tokio_rustls::TlsConnector);

impl TlsConnector {
    pub(crate) fn new(config: &TlsConfig) -> Self {
        Self(config.connector(&[b"http/1.1"]))
    }

    /// A host as certificates name it.
    pub(crate) fn name(host: &str) -> io::Result<ServerName<'static>> {
        ServerName::try_from(host.to_owned()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    pub(crate) async fn secure(&self, name: ServerName<'static>, io: Box<dyn Io>) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(self.0.connect(name, io).await?))
    }
}

/// Makes the connections of a server secure. Clones are cheap.
#[derive(Clone)]
pub struct TlsAcceptor(tokio_rustls::TlsAcceptor);

impl TlsAcceptor {
    /// A server that shows this certificate, with those that lead to its root after it, and has its key: PEM files. It
    /// asks its clients for none, and speaks HTTP/1.1.
    ///
    /// # Errors
    /// If one of the files cannot be read or used, or they do not belong together.
    pub fn of_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::speaking(&[b"http/1.1"], certificate, key)
    }

    /// [`of_files`](Self::of_files) for a server that speaks these protocols (ALPN).
    ///
    /// # Errors
    /// As there.
    pub fn speaking(
        protocols: &[&[u8]],
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let identity = identity(&read(certificate.as_ref())?, &read(key.as_ref())?)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring serves TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self(Arc::new(config).into()))
    }

    /// Agrees with a client on TLS.
    ///
    /// # Errors
    /// If there is no agreement.
    pub async fn accept(&self, io: Box<dyn Io>) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(self.0.accept(io).await?))
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["a.example".into()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_the_reason() {
        let (certificate, key) = pair();
        let cut = &certificate.as_bytes()[..certificate.len() / 2];
        let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let roots = |pem: &[u8]| TlsConfig::default().with_roots(pem).map(drop);
        assert!(roots(certificate.as_bytes()).is_ok());
        assert!(matches!(roots(b""), Err(TlsError::NoCertificate)));
        assert!(matches!(roots(b"words"), Err(TlsError::NoCertificate)));
        assert!(matches!(roots(key.as_bytes()), Err(TlsError::NoCertificate)));
        assert!(matches!(roots(cut), Err(TlsError::Pem(_))));
        assert!(matches!(roots(empty), Err(TlsError::Unusable(_))));
        let missing = TlsConfig::default().with_root_file("no-such-file.pem").unwrap_err();
        assert!(missing.to_string().starts_with("no-such-file.pem: "), "{missing}");
    }

    #[test]
    fn a_certificate_is_shown_only_with_its_own_key() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        let identity = |certificate: &str, key: &str| {
            TlsConfig::default().with_identity(certificate.as_bytes(), key.as_bytes()).map(drop)
        };
        assert!(identity(&certificate, &key).is_ok());
        assert!(matches!(identity(&certificate, &other), Err(TlsError::Unusable(_))));
        assert!(matches!(identity(&certificate, &certificate), Err(TlsError::NoKey)));
        assert!(matches!(identity(&key, &key), Err(TlsError::NoCertificate)));
    }

    #[test]
    fn a_key_is_not_shown_to_those_who_print_the_config() {
        let (certificate, key) = pair();
        let config = TlsConfig::default().with_identity(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(format!("{config:?}"), "TlsConfig { public_roots: true, roots: 0, identity: true }");
    }
}
