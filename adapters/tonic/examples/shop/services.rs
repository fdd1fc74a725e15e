//! What the services do.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Router};
use periplus_tokio::app::AppBuilder;
use periplus_tokio::core::balance::Filter;
use periplus_tokio::{AppInfo, Client, HttpDialer, Tokio, http_server};
use periplus_tonic::{Channel, GrpcServer};
use tonic::Status;

use crate::BoxError;
use crate::helloworld::{Greeter, GreeterClient, GreeterServer, HelloReply, HelloRequest};
use crate::ledger::Ledger;

/// The application with the servers of a service.
pub(crate) fn serve(
    app: AppBuilder<Tokio>,
    service: &str,
    registry: &Client,
    ledger: &Arc<Ledger>,
) -> Result<AppBuilder<Tokio>, BoxError> {
    let ledger = Arc::clone(ledger);
    Ok(match service {
        "catalog" => {
            let router = Router::new()
                .route("/items/{number}", get(item))
                .route("/reserve/{number}", post(reserve))
                .with_state(Arc::clone(&ledger));
            let prices = GrpcServer::new("127.0.0.1:0").add_service(GreeterServer::new(Prices(ledger)));
            app.server(http_server("127.0.0.1:0", router)).server(prices)
        }
        "cart" => {
            let catalog = Channel::connect(registry, "discovery:///catalog")?;
            let router = Router::new().route("/carts/{number}", get(cart)).with_state((ledger, catalog));
            app.server(http_server("127.0.0.1:0", router))
        }
        "checkout" => {
            let shop = HttpDialer::new(Tokio::new(), registry.clone(), |channel| channel);
            let checkout = GreeterServer::new(Checkout { ledger, shop });
            app.server(GrpcServer::new("127.0.0.1:0").add_service(checkout))
        }
        other => return Err(format!("there is no service {other}").into()),
    })
}

/// Catalog: what an item is.
async fn item(
    State(ledger): State<Arc<Ledger>>,
    Path(number): Path<u64>,
    Extension(app): Extension<AppInfo>,
) -> String {
    ledger.begin("item", number);
    format!("catalog {}", app.instance().version)
}

/// Catalog: an item is put aside. Done twice, it would be two.
async fn reserve(State(ledger): State<Arc<Ledger>>, Path(number): Path<u64>) {
    ledger.begin("reserve", number);
}

/// Catalog: what an item costs.
struct Prices(Arc<Ledger>);

impl Greeter for Prices {
    async fn say_hello(&self, request: HelloRequest) -> Result<HelloReply, Status> {
        self.0.begin("price", number(&request)?);
        Ok(HelloReply { message: "1".to_owned() })
    }
}

/// Cart: what is in it, with prices. One in five is asked for of the catalog's new version.
async fn cart(
    State((ledger, catalog)): State<(Arc<Ledger>, Channel)>,
    Path(number): Path<u64>,
) -> Result<String, (StatusCode, String)> {
    ledger.begin("cart", number);
    let version = if (number / 10).is_multiple_of(5) { "2" } else { "1" };
    let mut prices = GreeterClient::new(catalog.with_filter(Filter::version(version)));
    let price = prices.say_hello(HelloRequest { name: number.to_string() }).await;
    let price = price.map_err(|status| (StatusCode::INTERNAL_SERVER_ERROR, status.message().to_owned()))?;
    Ok(format!("cart, prices by catalog {version}: {}", price.into_inner().message))
}

/// Checkout: looks into the cart, and has its item put aside.
struct Checkout {
    ledger: Arc<Ledger>,
    shop: HttpDialer,
}

impl Greeter for Checkout {
    async fn say_hello(&self, request: HelloRequest) -> Result<HelloReply, Status> {
        let number = number(&request)?;
        self.ledger.begin("checkout", number);
        self.ask(http::Method::GET, &format!("discovery:///cart/carts/{number}")).await?;
        self.ask(http::Method::POST, &format!("discovery:///catalog/reserve/{number}")).await?;
        Ok(HelloReply { message: "checkout".to_owned() })
    }
}

impl Checkout {
    async fn ask(&self, method: http::Method, url: &str) -> Result<(), Status> {
        let request = http::Request::builder().method(method).body(axum::body::Body::empty());
        let request = request.map_err(|error| Status::internal(error.to_string()))?;
        let response = self.shop.send(url, request).await.map_err(|error| Status::internal(error.to_string()))?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(|error| Status::internal(error.to_string()))?;
        match status.is_success() {
            true => Ok(()),
            false => Err(Status::internal(format!("{url}: {status}: {}", String::from_utf8_lossy(&body)))),
        }
    }
}

/// The number of the customer's request.
fn number(request: &HelloRequest) -> Result<u64, Status> {
    request.name.parse().map_err(|_| Status::invalid_argument("the name is the number of a request"))
}
