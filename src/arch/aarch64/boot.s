// The arm64 boot protocol and the way from a core's reset to Rust.
//
// Linux's Documentation/arch/arm64/booting.rst: the image is entered at its first byte with the MMU off, x0 = physical
// address of the device tree, at any 2 MiB boundary. Everything up to the jump to the kernel's own addresses is position independent.

.equ NORMAL_BLOCK, 0x709            // valid block, AttrIndx 2 (normal write-back), AF, inner shareable, EL1 read-write
.equ NORMAL_BLOCK_NX_HIGH, 0x0060   // bits 53 and 54 (PXN, UXN), shifted right by 48
.equ NOT_GLOBAL, 0x800              // nG: for the ASID in TTBR0 alone
.equ TABLE, 0x3
.equ KERNEL_L0_INDEX, 0x100         // of 0xffff_8000_0000_0000

.section .head, "ax"
.global _head
_head:
    b       primary_start
    .long   0
    .quad   0                       // text_offset
    .quad   __image_size
    .quad   0xa                     // little endian, 4 KiB pages, anywhere in memory
    .quad   0
    .quad   0
    .quad   0
    .ascii  "ARM\x64"
    .long   0

.section .text.boot, "ax"

primary_start:
    mov     x19, x0
    bl      drop_to_el1

    adrp    x0, __bss_start
    add     x0, x0, :lo12:__bss_start
    adrp    x1, __bss_end
    add     x1, x1, :lo12:__bss_end
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b

    adrp    x20, _head              // physical base of the image
    mov     x21, #NORMAL_BLOCK

    // Identity map of the gigabyte that holds this code, for the instant at which the MMU goes on. It is ASID 0's, which no program
    // has: what a TLB keeps of it never stands for a program's memory.
    adrp    x0, boot_identity_l0
    adrp    x1, boot_identity_l1
    ubfx    x2, x20, #39, #9
    orr     x3, x1, #TABLE
    str     x3, [x0, x2, lsl #3]
    lsr     x2, x20, #30
    lsl     x3, x2, #30
    orr     x3, x3, x21
    orr     x3, x3, #NOT_GLOBAL
    and     x2, x2, #511
    str     x3, [x1, x2, lsl #3]

    // The image at its own addresses, in blocks of 2 MiB.
    adrp    x0, boot_kernel_l0
    adrp    x1, boot_image_l1
    orr     x3, x1, #TABLE
    str     x3, [x0, #KERNEL_L0_INDEX * 8]
    adrp    x2, boot_image_l2
    orr     x3, x2, #TABLE
    str     x3, [x1]
    orr     x3, x20, x21
    adrp    x4, __image_end
    add     x5, x20, #0
2:  str     x3, [x2], #8
    add     x3, x3, #0x200000
    add     x5, x5, #0x200000
    cmp     x5, x4
    b.lo    2b

    // The linear map of the gigabytes that hold the image and the device tree, not executable.
    adrp    x1, boot_linear_l1
    orr     x3, x1, #TABLE
    str     x3, [x0]
    mov     x6, #NORMAL_BLOCK_NX_HIGH
    lsl     x6, x6, #48
    orr     x6, x6, x21
    lsr     x2, x20, #30
    lsl     x3, x2, #30
    orr     x3, x3, x6
    str     x3, [x1, x2, lsl #3]
    lsr     x2, x19, #30
    lsl     x3, x2, #30
    orr     x3, x3, x6
    str     x3, [x1, x2, lsl #3]

    // What was written with the caches off must not be hidden by lines that a cache still has of these addresses.
    dmb     sy
    mrs     x2, ctr_el0
    ubfx    x2, x2, #16, #4         // DminLine: words, as a power of two
    mov     x3, #4
    lsl     x2, x3, x2
    adrp    x0, __bss_start
    adrp    x1, __bss_end
3:  dc      ivac, x0
    add     x0, x0, x2
    cmp     x0, x1
    b.lo    3b

    adrp    x0, boot_identity_l0
    adrp    x1, boot_kernel_l0
    bl      enable_mmu

    ldr     x1, =__boot_stack_top
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x19
    mov     x1, x20
    ldr     x2, =kernel_main
    br      x2

// A secondary core arrives here from PSCI CPU_ON with x0 = physical address of its `SecondaryStart`.
.global secondary_start
secondary_start:
    mov     x19, x0
    bl      drop_to_el1
    adrp    x0, boot_identity_l0
    ldr     x1, [x19, #0]           // kernel root table
    ldp     x20, x21, [x19, #8]     // stack top, core number
    bl      enable_mmu
    mov     sp, x20
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x21
    ldr     x2, =secondary_main
    br      x2

// Turns the MMU on with x0 = TTBR0, x1 = TTBR1. Clobbers x0-x5.
enable_mmu:
    dsb     sy
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    ldr     x2, =0x44ff0400         // MAIR, as libkernel::memory::descriptor numbers it
    msr     mair_el1, x2

    // TCR: 48-bit halves, 4 KiB granules, inner shareable write-back walks, top byte of user addresses ignored.
    ldr     x2, =0x20b5103510
    mrs     x3, id_aa64mmfr0_el1
    and     x4, x3, #0xf            // PARange
    mov     x5, #5
    cmp     x4, x5
    csel    x4, x4, x5, lo
    bfi     x2, x4, #32, #3         // IPS
    ubfx    x4, x3, #4, #4          // ASIDBits
    cmp     x4, #2
    cset    x4, eq
    bfi     x2, x4, #36, #1         // AS
    msr     tcr_el1, x2

    msr     ttbr0_el1, x0
    msr     ttbr1_el1, x1
    isb
    ldr     x2, =SCTLR_ON
    msr     sctlr_el1, x2
    isb
    // The return address is physical; hand back the same place in the image's own addresses.
    adrp    x2, _head
    ldr     x3, =_head
    sub     x3, x3, x2
    add     x30, x30, x3
    ret

// Makes x0 the root table of the kernel half, with no moment at which old and new translations are both in force: they differ in
// the sizes of their blocks (ARM ARM D8.16.1, break-before-make). Entered in the identity map, at its physical address; returns
// to the kernel's own addresses. Clobbers x1 and x2.
.global replace_kernel_root
replace_kernel_root:
    mrs     x1, tcr_el1
    orr     x2, x1, #(1 << 23)      // EPD1: no walks of the kernel half
    msr     tcr_el1, x2
    isb
    tlbi    vmalle1
    dsb     nsh
    msr     ttbr1_el1, x0
    isb
    msr     tcr_el1, x1
    isb
    ret

// From EL2 to EL1, if the core was started there. Keeps x19; clobbers x0-x2.
drop_to_el1:
    msr     daifset, #0xf
    mrs     x0, currentel
    lsr     x0, x0, #2
    ldr     x1, =SCTLR_OFF
    cmp     x0, #2
    b.eq    1f
    msr     sctlr_el1, x1
    isb
    ret
1:  msr     sctlr_el1, x1
    mov     x0, #(1 << 31)          // EL1 is AArch64
    msr     hcr_el2, x0
    mrs     x0, cnthctl_el2
    orr     x0, x0, #3              // EL1 may use the physical timer and counter
    msr     cnthctl_el2, x0
    msr     cntvoff_el2, xzr
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    mov     x0, #0x33ff
    msr     cptr_el2, x0            // no traps of FP
    msr     hstr_el2, xzr
    mrs     x0, id_aa64pfr0_el1
    ubfx    x0, x0, #24, #4         // GIC system registers
    cbz     x0, 2f
    mrs     x0, S3_4_C12_C9_5       // ICC_SRE_EL2
    orr     x0, x0, #0x1            // SRE
    orr     x0, x0, #0x8            // Enable
    msr     S3_4_C12_C9_5, x0
    isb
2:  mov     x0, #0x3c5              // EL1h, DAIF masked
    msr     spsr_el2, x0
    msr     elr_el2, x30
    eret

// SCTLR_EL1 (ARM ARM D23.2.117): RES1 bits, and MMU, data and instruction caches, stack alignment checks for both levels on;
// UCI, UCT, DZE (user cache maintenance, CTR_EL0, DC ZVA) and nTWE, nTWI on; SPAN set: PAN is switched by hand.
.equ SCTLR_RES1, (1 << 29) | (1 << 28) | (1 << 22) | (1 << 20) | (1 << 11) | (1 << 8) | (1 << 7)
.equ SCTLR_OFF, SCTLR_RES1 | (1 << 23)
.equ SCTLR_ON, SCTLR_OFF | (1 << 0) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 12) | (1 << 14) | (1 << 15) | (1 << 16) | (1 << 18) | (1 << 26)

.section .bss.boot, "aw", %nobits
.balign 4096
boot_identity_l0: .skip 4096
boot_identity_l1: .skip 4096
boot_kernel_l0:   .skip 4096
boot_image_l1:    .skip 4096
boot_image_l2:    .skip 4096
boot_linear_l1:   .skip 4096
.global boot_identity_l0
