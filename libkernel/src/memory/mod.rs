//! Memory: page frames, the kernel heap, page tables and the address spaces of programs.
//!
//! From the bottom up: [`frame`] and [`buddy`] keep track of RAM; [`frames`] hands out page frames through per-core
//! caches; [`Page`] is a counted reference to one; [`descriptor`] and [`kernel_map`] build the kernel's own tables.

pub mod address;
#[cfg(not(target_os = "none"))]
pub mod arena;
pub mod buddy;
pub mod descriptor;
pub mod frame;
pub mod frames;
pub mod heap;
pub mod kernel_map;
mod page;
mod source;

pub use address::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, PhysAddr, USER_LIMIT, VirtAddr};
pub use frames::Need;
pub use heap::KernelHeap;
pub use page::Page;
pub use source::PageSource;
