//! child: being built.
