//! An application that serves https.

use futures_core::Stream;
use periplus_tokio::core::http::{Input, Method, Request};
use periplus_tokio::{Runtime, TlsConfig};

use super::*;

#[tokio::test]
async fn a_server_with_a_certificate_is_registered_as_https_and_answers_who_trusts_it() {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let directory = std::env::temp_dir().join(format!("periplus-app-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();

    let router = axum::Router::new().route("/", get(async || "safe"));
    let registry = connect("memory:").await.unwrap();
    let mut watcher = registry.watch("web").unwrap();
    let server = http_server("localhost:0", router).tls_files(&certificate, &key);
    let app = App::builder().name("web").server(server).registrar(registry.clone()).signals([]).drain(Duration::ZERO);
    let (handle, run) = run(app);
    let address = registered(&mut watcher).await;
    assert_eq!(handle.info().unwrap().endpoints()[0].as_str(), format!("https://{address}"));

    let tls = TlsConfig::default().with_roots(pair.cert.pem().as_bytes()).unwrap();
    let url = format!("https://{address}/");
    let request = Request { method: Method::Get, url, headers: vec![], body: vec![], streaming: false };
    let mut exchange = Tokio::new().with_tls(&tls).request(request);
    let mut body = Vec::new();
    loop {
        match poll_fn(|cx| Pin::new(&mut exchange).poll_next(cx)).await.unwrap() {
            Input::Response(head) => assert_eq!(head.status, 200),
            Input::Chunk(bytes) => body.extend_from_slice(&bytes),
            Input::End => break,
            Input::Failure(failure) => panic!("{failure:?}"),
        }
    }
    assert_eq!(body, b"safe");
    handle.stop();
    run.await.unwrap().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_said_before_anything_listens() {
    let server = http_server("127.0.0.1:0", axum::Router::new()).tls_files("no-cert.pem", "no-key.pem");
    let (_, run) = run(App::builder().name("web").signals([]).server(server));
    let error = run.await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("cannot bind the server http: no-cert.pem: "), "{error}");
}
