//! What ours log, for the trace of a single seed.

use std::{cell::RefCell, io};

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Collects what the thread logs.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects logs from now on.
pub(crate) fn collect() {
    tracing_subscriber::fmt()
        .with_env_filter("stellar_peers=info")
        .with_writer(|| Lines)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
}

/// What was logged since the last call.
pub(crate) fn take() -> String {
    let lines = LINES.with_borrow_mut(std::mem::take);
    String::from_utf8_lossy(&lines).into_owned()
}
