//! Peer discovery for Stellar validators on Kubernetes.
pub mod admission;
pub mod api;
pub mod clock;
pub mod controller;
pub mod domain;
pub mod observe;
