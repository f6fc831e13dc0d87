//! The status page in a browser.

fn main() {}
