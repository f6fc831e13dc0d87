//! What this thread logs, for tests.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _};

/// Lines as JSON, from its making until it is dropped.
pub(crate) struct Captured {
    written: Written,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    /// What is at least this important.
    pub(crate) fn at(level: LevelFilter) -> Self {
        let written = Written::default();
        let writer = written.clone();
        let layer = super::json_lines(move || writer.clone()).with_filter(level);
        let subscriber = tracing_subscriber::registry().with(layer.boxed());
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Everything, as people read it.
    pub(crate) fn text(is_coloured: bool) -> Self {
        let written = Written::default();
        let writer = written.clone();
        let layer = super::text_lines(move || writer.clone(), is_coloured);
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// What was logged since the last call, as it was written.
    pub(crate) fn take_text(&self) -> String {
        let bytes = std::mem::take(&mut *self.written.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    /// What was logged since the last call.
    pub(crate) fn take(&self) -> Vec<Value> {
        let text = self.take_text();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }
}
