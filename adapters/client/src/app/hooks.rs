//! What runs between the steps of an application's life.

use std::future::Future;

use periplus_core::app::Phase;

use super::info::AppInfo;
use super::server::BoxError;
use crate::face::BoxFuture;

type Hook = Box<dyn FnOnce(AppInfo) -> BoxFuture<'static, Result<(), BoxError>> + Send>;

/// All hooks, each with its phase.
#[derive(Default)]
pub(super) struct Hooks(Vec<(Phase, Hook)>);

impl Hooks {
    pub(super) fn add<F, E>(&mut self, phase: Phase, hook: impl FnOnce(AppInfo) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let hook: Hook = Box::new(move |info| {
            let hook = hook(info);
            Box::pin(async move { hook.await.map_err(Into::into) })
        });
        self.0.push((phase, hook));
    }

    /// Runs the hooks of a phase one after the other. The first that fails ends the start; at the stop all of them run,
    /// and the first failure is what they answer.
    pub(super) fn run(&mut self, phase: Phase, info: &AppInfo) -> BoxFuture<'static, Result<(), BoxError>> {
        let hooks: Vec<Hook> = self.0.extract_if(.., |(of, _)| *of == phase).map(|(_, hook)| hook).collect();
        let info = info.clone();
        Box::pin(async move {
            let mut result = Ok(());
            for hook in hooks {
                let next = hook(info.clone()).await;
                if result.is_ok() {
                    result = next;
                }
                if result.is_err() && phase < Phase::BeforeStop {
                    break;
                }
            }
            result
        })
    }
}
