//! The few things `libkernel` asks of the machine it runs on.
//!
//! The kernel implements [`Machine`] once and installs it with [`install_machine!`]; the functions of this
//! module then call it directly (the linker inlines them, there is no table of pointers). On a hosted target
//! the standard library stands in (see `host.rs`), so that everything above can be tested there.
//!
//! Nothing here sleeps. Each function says whether interrupts have to be masked.

#[cfg(not(target_os = "none"))]
pub mod host;

/// The number of cores the kernel is built for; core identifiers are below it.
pub const MAX_CORES: usize = 32;

macro_rules! interface {
    ($d:tt $( $(#[$doc:meta])* fn $name:ident = $symbol:ident ( $($arg:ident : $ty:ty),* ) $(-> $ret:ty)?; )*) => {
        /// What the kernel has to provide; the free functions of this module document and call these.
        #[expect(missing_docs, reason = "documented on the free functions of the same names")]
        pub trait Machine {
            $( fn $name($($arg: $ty),*) $(-> $ret)?; )*
        }

        #[cfg(target_os = "none")]
        mod linked {
            // SAFETY: `install_machine!` defines each of these with the same signature, in safe code.
            unsafe extern "Rust" { $( pub(super) safe fn $symbol($($arg: $ty),*) $(-> $ret)?; )* }
        }

        $(
            $(#[$doc])*
            #[inline]
            pub fn $name($($arg: $ty),*) $(-> $ret)? {
                #[cfg(target_os = "none")]
                return linked::$symbol($($arg),*);
                #[cfg(not(target_os = "none"))]
                return <host::Host as Machine>::$name($($arg),*);
            }
        )*

        /// Makes a type that implements [`Machine`](machine::Machine) the machine of this kernel.
        #[macro_export]
        macro_rules! install_machine {
            ($d machine:ty) => {
                $(
                    #[unsafe(no_mangle)]
                    #[inline]
                    extern "Rust" fn $symbol($($arg: $ty),*) $(-> $ret)? {
                        <$d machine as $crate::machine::Machine>::$name($($arg),*)
                    }
                )*
            };
        }
    };
}

interface! { $
    /// Masks interrupts on this core and returns what to hand to [`restore_interrupts`]. Calls nest.
    fn mask_interrupts = __machine_mask_interrupts() -> u64;
    /// Undoes the [`mask_interrupts`] that returned `state`.
    fn restore_interrupts = __machine_restore_interrupts(state: u64);
    /// Whether interrupts are masked on this core.
    fn interrupts_masked = __machine_interrupts_masked() -> bool;
    /// Whether this core is inside an interrupt handler.
    fn in_interrupt = __machine_in_interrupt() -> bool;
    /// Whether this runs on a stack of a task's own (`stackful`) instead of a core's.
    fn has_own_stack = __machine_has_own_stack() -> bool;
    /// The [`StackHead`](crate::task::StackHead) of the stack that this runs on. Only where [`has_own_stack`].
    fn own_stack = __machine_own_stack() -> *const ();
    /// The code on a task's own stack may be preempted again: does it now if that is due.
    fn preemption_point = __machine_preemption_point();
    /// The core that executes this, below [`MAX_CORES`]. Stable only while the caller can neither sleep nor be preempted
    /// ([`Hold`](crate::sync::Hold)).
    fn core_id = __machine_core_id() -> usize;
    /// Tells the processor (and a hypervisor) that this is one turn of a busy wait.
    fn relax = __machine_relax();
    /// Nanoseconds since boot; never goes back.
    fn monotonic_ns = __machine_monotonic_ns() -> u64;
    /// A counter that never goes back and costs one instruction to read; [`ticks_to_ns`] gives its unit.
    fn ticks = __machine_ticks() -> u64;
    /// The nanoseconds of a difference of [`ticks`].
    fn ticks_to_ns = __machine_ticks_to_ns(ticks: u64) -> u64;
    /// Nanoseconds to add to [`monotonic_ns`] to get the time since 1970-01-01.
    fn realtime_offset_ns = __machine_realtime_offset_ns() -> u64;
    /// Sets the clock: the new value of [`realtime_offset_ns`].
    fn set_realtime_offset_ns = __machine_set_realtime_offset_ns(offset: u64);
    /// Interrupts another core so that it drains its inbox. Everything written before is visible to it.
    fn raise_ipi = __machine_raise_ipi(core: usize);
    /// Sets this core's one-shot timer to `deadline` (nanoseconds of [`monotonic_ns`]), or off.
    fn arm_timer = __machine_arm_timer(deadline: Option<u64>);
    /// Where the kernel sees the byte of physical memory at `physical`.
    fn phys_to_virt = __machine_phys_to_virt(physical: u64) -> *mut u8;
    /// The physical address of a byte in the linear map, the inverse of [`phys_to_virt`].
    fn virt_to_phys = __machine_virt_to_phys(pointer: *const u8) -> u64;
    /// Fills a page with zeros by the fastest means there is.
    fn zero_page = __machine_zero_page(page: &mut [u8; 4096]);
    /// Copies from the active user address space; returns how many bytes at the end were not copied because of a
    /// fault. Never pages anything in. The range is checked against the user half.
    fn copy_from_user = __machine_copy_from_user(destination: &mut [u8], source: usize) -> usize;
    /// Copies a string from the active user address space, up to its zero, which is not counted; returns how many bytes were copied, and
    /// whether the zero was found. Without it, fewer bytes than the destination takes mean a fault. What lies behind the string in the
    /// destination is undefined.
    fn copy_string_from_user = __machine_copy_string_from_user(destination: &mut [u8], source: usize) -> (usize, bool);
    /// Copies to the active user address space; returns how many bytes at the end were not copied because of a
    /// fault. Never pages anything in. The range is checked against the user half.
    fn copy_to_user = __machine_copy_to_user(destination: usize, source: &[u8]) -> usize;
    /// Zeroes user memory; returns how many bytes at the end were left because of a fault.
    fn zero_user = __machine_zero_user(destination: usize, length: usize) -> usize;
    /// Reads an aligned 32-bit user word at once; `None` on a fault or a bad address.
    fn load_user_u32 = __machine_load_user_u32(address: usize) -> Option<u32>;
    /// Compares and exchanges an aligned 32-bit user word; returns the value found, `None` on a fault.
    fn compare_exchange_user_u32 = __machine_compare_exchange_user_u32(address: usize, expected: u32, new: u32) -> Option<u32>;
    /// Makes this core run user code in the address space with this root table and ASID (0 is the kernel's empty one).
    fn activate_address_space = __machine_activate_address_space(root: u64, asid: u16);
    /// The number of usable ASID bits, 8 or 16.
    fn asid_bits = __machine_asid_bits() -> u32;
    /// Invalidates, on all cores, the translations of `pages` pages from `start` under an ASID, and waits for it.
    fn invalidate_user_range = __machine_invalidate_user_range(asid: u16, start: usize, pages: usize);
    /// Invalidates, on all cores, all translations under an ASID, and waits for it.
    fn invalidate_asid = __machine_invalidate_asid(asid: u16);
    /// Invalidates all user translations on all cores, and waits for it.
    fn invalidate_all_user = __machine_invalidate_all_user();
    /// Makes page-table writes visible to the walkers of all cores (a barrier; needed before a new entry is relied on).
    fn publish_page_table = __machine_publish_page_table();
    /// Makes bytes that were written at this kernel address executable from user space: cleans and invalidates caches.
    fn synchronise_instruction_cache = __machine_synchronise_instruction_cache(start: *const u8, length: usize);
    /// The seed for the kernel's random generator, from the device tree; the same under the same QEMU seed.
    fn random_seed = __machine_random_seed() -> [u8; 32];
}
