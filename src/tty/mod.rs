//! The machine's end of the terminals: the system console on the serial line. What a terminal is stands in
//! [`libkernel::tty`].
#![forbid(unsafe_code)]

mod console;

pub use console::init;
