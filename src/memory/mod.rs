//! The machine's memory: RAM at boot, and the kernel half of the address space.

pub mod boot;
pub mod kernel_space;
pub mod steps;
pub mod task_stacks;
