//! Lichen: the table of contents of the boot.
fn main() {}
