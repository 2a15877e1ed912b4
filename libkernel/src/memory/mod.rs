//! Memory: page frames, the kernel heap, page tables and the address spaces of programs.
//!
//! From the bottom up: [`frame`] and [`buddy`] keep track of RAM; [`frames`] hands out page frames through per-core
//! caches; [`Page`] is a counted reference to one; [`descriptor`] and [`kernel_map`] build the kernel's own tables;
//! [`page_table`], [`gather`] and [`asid`] make and unmake a program's translations; [`AddressSpace`] puts them together with the
//! program's mappings ([`vma`], [`vma_map`], `gap_tree`).

mod active;
pub mod address;
#[cfg(not(target_os = "none"))]
pub mod arena;
pub mod asid;
pub mod buddy;
pub mod descriptor;
pub mod frame;
pub mod frames;
mod gap_tree;
pub mod gather;
pub mod heap;
pub mod kernel_map;
mod mappings;
mod page;
pub mod page_index;
pub mod page_table;
mod plain;
mod region;
pub mod shared;
mod source;
pub mod space;
mod tenant;
mod user;
mod user_buffer;
mod user_slice;
pub mod vma;
pub mod vma_map;

pub use active::{activate, active, deactivate};
pub use address::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, PhysAddr, USER_LIMIT, VirtAddr};
pub use frames::Need;
pub use heap::KernelHeap;
pub use mappings::Mappings;
pub use page::Page;
pub use plain::{FileLock, Plain};
pub use region::Region;
pub use source::{PageSource, Writer};
pub use space::{Access, AddressSpace, FaultSignal, MapRequest, MemoryLimits, Placement};
pub use tenant::Tenant;
pub use user::UserPtr;
pub use user_buffer::{UserBuffer, UserBytes};
pub use user_slice::UserSlice;
pub use vma::{Backing, MappingName, Protection, VmaFlags};
