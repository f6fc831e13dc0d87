//! Short names for long things.

use aws_lc_rs::digest::{SHA256, digest};

/// The first bytes of the SHA-256 of `content`, as lower-case hex digits.
pub(crate) fn short_sha256(content: &[u8], bytes: usize) -> String {
    let sum = digest(&SHA256, content);
    let first = sum.as_ref().iter().take(bytes);
    first.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
