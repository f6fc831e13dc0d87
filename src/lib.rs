//! Peer discovery for Stellar validators on Kubernetes.
pub mod admission;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod domain;
pub mod engine;
pub mod observe;
pub mod tls;
