//! The webhook: HTTPS connections, the route, and the answer to an AdmissionReview.
//!
//! It answers from the stores alone: it never calls the API server, and never waits for the loop.

mod answer;
pub mod connections;
mod keep;
mod known;
pub mod registration;
pub mod review;
pub mod router;
#[cfg(test)]
mod tests;
