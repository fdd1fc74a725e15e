//! What the browser shows around the page: the title of its tab.

use super::document;
use crate::model::Model;
use crate::route::Page;

/// Names the tab after what it shows.
pub(super) fn mark(model: &Model) {
    let words = model.words();
    let name = match &model.route.page {
        Page::Overview => words.overview,
        Page::Services => words.services,
        Page::Instances => words.instances,
        Page::Service(name) => name,
        Page::Instance(_, id) => id,
        Page::Time => words.time,
        Page::Resolver => words.resolver,
        Page::Doctor => words.doctor,
    };
    let title = [name, " · Periplus"].concat();
    let document = document();
    if document.title() != title {
        document.set_title(&title);
    }
}
