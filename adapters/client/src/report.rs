//! What a client tells `tracing`, under the target `periplus`.

use periplus_core::app::{Ending, Exit, LifecycleState};
use periplus_core::client::subscription::CacheError;
use periplus_core::client::{ClientEvent, RegistrationState};
use periplus_core::{Key, ServiceInstance};
use tracing::{debug, error, info, warn};

/// Writes an event down.
pub(crate) fn report(event: &ClientEvent, key: Option<&Key>) {
    match event {
        ClientEvent::Registration(id, state) => report_registration(id.0, key, state),
        ClientEvent::Connected { channel, origin } => {
            info!(target: "periplus", %channel, %origin, "the registry answers");
        }
        ClientEvent::Disconnected { channel, origin, reason, retry_in } => {
            warn!(target: "periplus", %channel, %origin, %reason, ?retry_in, "the registry does not answer");
        }
        ClientEvent::Deferred { id, problem, retry_in } => {
            let (id, code, problem) = (id.0, problem.code.as_str(), problem.message.as_str());
            warn!(target: "periplus", id, code, problem, ?retry_in, "the registry refuses a registration for now");
        }
        ClientEvent::Skipped { problem } => {
            warn!(target: "periplus", %problem, "skipped an entry that is no instance");
        }
        ClientEvent::WatchRefused(problem) => {
            warn!(target: "periplus", code = %problem.code, problem = %problem.message, "the registry refuses a watch");
        }
        ClientEvent::Alarm { namespace, expired, of } => {
            warn!(target: "periplus", %namespace, expired, of, "many instances expired at once");
        }
        ClientEvent::AlarmEnded { namespace } => info!(target: "periplus", %namespace, "the alarm is over"),
        ClientEvent::Closed => debug!(target: "periplus", "the client is closed"),
        _ => {}
    }
}

/// Writes down that what was known in an earlier life is lost.
pub(crate) fn report_unused_cache(error: &CacheError) {
    warn!(target: "periplus", %error, "what was known before is not used");
}

fn report_registration(id: u64, key: Option<&Key>, state: &RegistrationState) {
    let instance = key.map(tracing::field::debug);
    match state {
        RegistrationState::Registered => debug!(target: "periplus", id, instance, "registered"),
        RegistrationState::Lost(loss) => warn!(target: "periplus", id, instance, ?loss, "lost, registering again"),
        RegistrationState::Superseded => {
            error!(target: "periplus", id, instance, "superseded: another holder has registered this id");
        }
        RegistrationState::Refused(problem) => {
            let (code, problem) = (problem.code.as_str(), problem.message.as_str());
            error!(target: "periplus", id, instance, code, problem, "the registry refuses the registration");
        }
        RegistrationState::Deregistered { confirmed } => {
            debug!(target: "periplus", id, instance, confirmed, "deregistered");
        }
        _ => debug!(target: "periplus", id, instance, ?state, "registering"),
    }
}

/// Writes down how far an application is.
pub(crate) fn report_app_state(instance: &ServiceInstance, state: LifecycleState) {
    debug!(target: "periplus", name = %instance.name, id = %instance.id, ?state, "the application goes on");
}

/// Writes down that an application is not registered any more, and did not ask for it.
pub(crate) fn report_registration_ended(instance: &ServiceInstance, ending: Ending) {
    let (name, id) = (&instance.name, &instance.id);
    error!(target: "periplus", %name, %id, ?ending, "the application is not registered any more");
}

/// Writes down how an application ended.
pub(crate) fn report_app_ended(instance: &ServiceInstance, exit: &Exit) {
    let Exit { cause, deregistered, forced } = exit;
    let (name, id) = (&instance.name, &instance.id);
    match *deregistered && !forced {
        true => info!(target: "periplus", %name, %id, ?cause, "the application has ended"),
        false => warn!(target: "periplus", %name, %id, ?cause, deregistered, forced, "the application has ended"),
    }
}
