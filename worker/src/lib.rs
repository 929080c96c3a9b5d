//! worker: being built.
