//! TLS by the name of the service.

#[allow(dead_code, reason = "other tests need all of it")]
mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use common::helloworld::GreeterServer;
use common::{Named, Provider, SERVICE, TARGET, call, instance, registry};
use periplus_tonic::{Channel, GrpcServer, TlsConfig};

/// A provider whose certificate is for this name, and the certificate.
async fn provider(id: &str, name: &str) -> (Provider, String) {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
    let directory: PathBuf = std::env::temp_dir().join(format!("periplus-tonic-{}-{id}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let named = Named { id: id.to_owned(), takes: Duration::ZERO };
    let server = GrpcServer::new("127.0.0.1:0").add_service(GreeterServer::new(named)).tls_files(certificate, key);
    let provider = Provider::serve(id, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), server).await;
    std::fs::remove_dir_all(directory).unwrap();
    (provider, cert.pem())
}

fn believing(pem: &str) -> TlsConfig {
    TlsConfig::default().with_roots(pem.as_bytes()).unwrap().without_public_roots()
}

#[tokio::test]
async fn the_certificate_is_for_the_name_of_the_service() {
    let registry = registry().await;
    let (provider, certificate) = provider("named", SERVICE).await;
    let endpoint = format!("grpcs://{}", provider.at);
    let _registration = registry.register(instance("named", &endpoint)).await.unwrap();
    let channel = Channel::builder(TARGET).tls(believing(&certificate)).connect(&registry).unwrap();
    assert_eq!(call(&channel).await.unwrap(), "named");
    // Without TLS there is nobody: there is no falling back.
    let status = call(&Channel::connect(&registry, TARGET).unwrap()).await.unwrap_err();
    assert!(status.message().contains("no instance has an endpoint of the scheme `grpc`"), "{status}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_that_name_is_chosen() {
    let registry = registry().await;
    let (provider, certificate) = provider("other", "other.example").await;
    let endpoint = format!("grpcs://{}", provider.at);
    let _registration = registry.register(instance("other", &endpoint)).await.unwrap();
    let builder = Channel::builder(TARGET).tls(believing(&certificate));
    let status = call(&builder.clone().connect(&registry).unwrap()).await.unwrap_err();
    assert!(status.message().contains("certificate"), "{status}");
    let channel = builder.server_name("other.example").connect(&registry).unwrap();
    assert_eq!(call(&channel).await.unwrap(), "other");
}
