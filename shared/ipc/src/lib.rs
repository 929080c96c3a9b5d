//! ipc: being built.
