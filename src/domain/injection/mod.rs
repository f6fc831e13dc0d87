//! What an admission adds to a validator's pod template, and when.
//!
//! [`Template`] reads a pod template and finds our parts in it, [`complete`] puts in what is
//! missing, [`admit_stateful_set`] and [`admit_stellar_node`] decide an AdmissionReview. The loop's own
//! restart patch uses [`complete`] too, so that adoption needs no webhook.
//!
//! # Guarantees
//! - Additive: no field that another writer set is changed or removed.
//! - Whole or absent: where one part can't be added, none is.
//! - An admission never turns a write that would not have restarted a pod into one that does: where the new
//!   template and the stored one are the same but for our parts, the result is the stored one.

mod admit;
mod chart_values;
mod config;
mod parts;
mod rendering;
mod stellar_node;
mod template;
#[cfg(test)]
pub(crate) mod tests;

pub use admit::{Admission, Knowledge, Outcome, Review, admit_stateful_set, is_concerned};
pub use chart_values::{Binary, ChartValues};
pub use config::CannotRender;
pub use parts::{Completed, OurPort, Parts, Wanted, complete, is_same_but_for_our_parts, mend};
pub(crate) use parts::{annotate, annotation_path};
pub use rendering::{RenderParts, Rendering};
pub use stellar_node::admit_stellar_node;
pub use template::{CannotInject, Template, TemplateView};
pub(crate) use template::{effective_port, metadata, setting};
