//! backsource: being built.
