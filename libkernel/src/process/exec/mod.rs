//! Replacing the program of a process (execve(2)), as far as it needs no machine: scripts, arguments, the first stack.

pub mod arguments;
pub mod auxiliary;
pub mod script;
pub mod stack;
