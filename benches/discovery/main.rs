//! How fast the program is and what it costs, in figures. No figure fails anything: a machine that is busy with
//! something else is no bug.
//!
//! A part of `make bench`, or `cargo bench --features sandbox --bench discovery`. Under four minutes.
//!
//! In the order in which they are printed:
//! 1. A pass of the core ([`decisions`]), and an admission without its connection ([`admissions`]).
//! 2. From a pod's readiness to the list, with 50 validators in one namespace: on the sandbox in real time, our engine
//!    in this process ([`on_sandbox`]), and on a real API server, our binary as a process ([`on_api_server`]); how the
//!    times are taken is told in [`changes`]. On both also what a change costs in requests, and what rest does.
//! 3. On the real API server: memory, from the start to ready, size of the binary.

#![expect(
    clippy::print_stdout,
    reason = "the figures go to where the caller looks for them"
)]

mod admissions;
mod changes;
mod cluster;
mod decisions;
#[path = "../shared/figures.rs"]
mod figures;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/namespace.rs"]
mod namespace;
mod on_api_server;
mod on_sandbox;
#[path = "../shared/process.rs"]
#[expect(dead_code, reason = "made for more than one benchmark")]
mod process;
#[path = "../shared/program.rs"]
mod program;
#[path = "../shared/reviews.rs"]
mod reviews;
mod traffic;
#[expect(dead_code, reason = "only the test of instructions hands it on")]
#[path = "../shared/validator.rs"]
mod validator;
#[path = "../shared/views.rs"]
mod views;

/// The rig of the scenarios that starts a real API server.
#[path = "../../tests/scenarios/real"]
mod real {
    #[expect(
        dead_code,
        unused_imports,
        reason = "the scenarios need all of the rig, and its own tests do"
    )]
    pub(crate) mod control_plane;
}

use std::io;

use tokio::runtime::Builder;
use tracing::Level;

fn main() {
    // As verbose as the service by default: what the program says is part of what it costs.
    tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(io::sink)
        .init();
    machine::describe();
    let validator = validator::made_by_the_operator();
    decisions::measure(&validator);
    admissions::measure(&validator);
    // One thread, so that the clock can be paused once nothing is measured against it any more.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime for the sandbox");
    runtime.block_on(on_sandbox::measure());
    drop(runtime);
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime for the clients of a real API server");
    runtime.block_on(on_api_server::measure());
}
