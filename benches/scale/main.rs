//! How the service behaves at scale: 1,000 namespaces of 10 validators, and one namespace of 5,000.
//!
//! `make bench-scale`, or `cargo bench --features sandbox --bench scale`; behind `--` a part of it: `passes`, `round`,
//! `real`, or a shape such as `100x10`. Under six minutes. No figure fails anything: a machine that is busy with
//! something else is no bug.
//!
//! In the order in which they are printed:
//! 1. A pass of the core as a namespace grows, and a whole round of restarts ([`passes`]).
//! 2. Our binary as a process on a served sandbox ([`series`]): memory, time on a core, requests, latency.
//! 3. The same on a real API server, with fewer validators ([`real_api`]).

#![expect(
    clippy::print_stdout,
    reason = "the figures go to where the caller looks for them"
)]

#[path = "../shared/figures.rs"]
#[expect(dead_code, reason = "made for more than one benchmark")]
mod figures;
mod herd;
#[path = "../shared/machine.rs"]
mod machine;
mod ours;
#[path = "../shared/page.rs"]
mod page;
mod passes;
#[path = "../plot.rs"]
#[expect(dead_code, reason = "made for more than one benchmark")]
mod plot;
#[path = "../shared/process.rs"]
mod process;
mod real_api;
mod results;
mod series;
mod served;
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

use std::{env, io};

use tokio::runtime::Builder;
use tracing::Level;

use crate::{herd::Shape, results::Results};

/// The shapes on the sandbox.
const SHAPES: [&str; 2] = ["1000x10", "1x5000"];

fn main() {
    // As verbose as the service by default: what the program says is part of what it costs.
    tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(io::sink)
        .init();
    let parts: Vec<String> = env::args()
        .skip(1)
        .filter(|it| !it.starts_with('-'))
        .collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|it| it == part);
    machine::describe();
    let validator = validator::made_by_the_operator();
    let mut results = Results::default();
    if is_wanted("passes") {
        passes::measure(&validator, &mut results);
    }
    if is_wanted("round") {
        passes::round(&validator, &mut results);
    }
    let named: Vec<Shape> = parts.iter().filter_map(|it| Shape::parse(it)).collect();
    let all = || SHAPES.iter().filter_map(|it| Shape::parse(it)).collect();
    let shapes: Vec<Shape> = if parts.is_empty() { all() } else { named };
    for shape in shapes {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime for the sandbox");
        runtime.block_on(series::measure(&validator, shape, &mut results));
    }
    if is_wanted("real") {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime for the clients of a real API server");
        runtime.block_on(real_api::measure(&mut results));
    }
    results.write();
}
