//! The application of periplus-tokio: registered while it serves, and gone when it is told to stop.

use super::Example;
use crate::failure::{Failure, Result};
use crate::registry::Registry;

pub(super) fn play() -> Result {
    let registry = Registry::start(&["--log", "warn"])?;
    let mut app = Example::start("app", &registry.url())?;
    app.line("serves", |line| line.starts_with("greeter serves at http://"))?;
    let listed = || registry.ask(&["get", "greeter"]);
    if !listed()?.contains("http://127.0.0.1:") {
        return Err(Failure::new(format!("the application serves and is not registered: {}", listed()?)));
    }
    app.service.interrupt();
    app.line("stops in peace", |line| line.contains("deregistered: true") && line.contains("forced: false"))?;
    if listed()?.contains("http://127.0.0.1:") {
        return Err(Failure::new(format!("the application has stopped and is registered: {}", listed()?)));
    }
    println!("an application was registered while it served");
    Ok(())
}
