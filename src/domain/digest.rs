//! Short names for long things.

use aws_lc_rs::digest::{Context, SHA256};

/// The first bytes of the SHA-256 of `content`, as lower-case hex digits.
pub(crate) fn short_sha256(content: &[u8], bytes: usize) -> String {
    let mut context = Context::new(&SHA256);
    context.update(content);
    short(context, bytes)
}

/// The same of a text that comes in parts.
pub(crate) fn short_sha256_of(parts: &[&str], bytes: usize) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part.as_bytes());
    }
    short(context, bytes)
}

fn short(context: Context, bytes: usize) -> String {
    let sum = context.finish();
    let mut hex = String::with_capacity(2 * bytes);
    for byte in sum.as_ref().iter().take(bytes) {
        let halves = [byte >> 4, byte & 0xf];
        hex.extend(halves.map(|half| char::from(b"0123456789abcdef"[usize::from(half)])));
    }
    hex
}
