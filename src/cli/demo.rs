//! `demo`: placeholder until the sandbox is in.
