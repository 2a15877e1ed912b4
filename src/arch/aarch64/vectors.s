// Exception vectors, and the way into user mode and back.
//
// User mode is a function call: `enter_user` keeps the caller's saved registers and the context's address on the kernel stack and
// returns when user mode traps. Nothing else may be on the stack above the vector's SP at that moment.

.equ CTX_SP, 248
.equ CTX_PSTATE, 264
.equ FRAME, 112                     // enter_user's stack: x19-x30, the context's address
.equ FRAME_CTX, 96

.equ TRAP_SYNCHRONOUS, 0
.equ TRAP_INTERRUPT, 1
.equ TRAP_SERROR, 2

.section .vectors, "ax"
.balign 2048
.global exception_vectors
exception_vectors:
    // Current level with SP_EL0: never used.
    .balign 128
    mov x0, #0
    b kernel_bad_vector
    .balign 128
    mov x0, #1
    b kernel_bad_vector
    .balign 128
    mov x0, #2
    b kernel_bad_vector
    .balign 128
    mov x0, #3
    b kernel_bad_vector

    // Current level with SP_EL1. Stacks are aligned to twice their size, so that an overflow shows in one bit of SP.
    .balign 128
    sub     sp, sp, #288
    add     sp, sp, x0
    sub     x0, sp, x0
    tbz     x0, #16, kernel_stack_overflow
    sub     x0, sp, x0
    sub     sp, sp, x0
    b       kernel_synchronous
    .balign 128
    sub     sp, sp, #192
    b       kernel_interrupt
    .balign 128
    sub     sp, sp, #192
    b       kernel_interrupt
    .balign 128
    mov     x0, #4
    b       kernel_bad_vector

    // Lower level, AArch64.
.macro from_user kind
    stp     x0, x1, [sp, #-16]!
    mov     x1, #\kind
    b       leave_user
.endm
    .balign 128
    stp     x0, x1, [sp, #-16]!
    mov     x1, #TRAP_SYNCHRONOUS
    b       leave_user
    .balign 128
    from_user TRAP_INTERRUPT
    .balign 128
    from_user TRAP_INTERRUPT
    .balign 128
    from_user TRAP_SERROR

    // Lower level, AArch32: user programs are AArch64 alone.
    .balign 128
    from_user TRAP_SERROR
    .balign 128
    from_user TRAP_SERROR
    .balign 128
    from_user TRAP_SERROR
    .balign 128
    from_user TRAP_SERROR

// fn enter_user(context: *mut UserContext) -> RawTrap, the kind and the syndrome
// Interrupts are masked on entry and on return.
.global enter_user
.balign 64
enter_user:
    stp     x29, x30, [sp, #-FRAME]!
    stp     x27, x28, [sp, #16]
    stp     x25, x26, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x21, x22, [sp, #64]
    stp     x19, x20, [sp, #80]
    str     x0, [sp, #FRAME_CTX]
    ldp     x1, x2, [x0, #CTX_SP]
    ldp     x3, x4, [x0, #CTX_PSTATE]
    msr     sp_el0, x1
    msr     elr_el1, x2
    msr     spsr_el1, x3
    msr     tpidr_el0, x4
    ldp     x2, x3, [x0, #16]
    ldp     x4, x5, [x0, #32]
    ldp     x6, x7, [x0, #48]
    ldp     x8, x9, [x0, #64]
    ldp     x10, x11, [x0, #80]
    ldp     x12, x13, [x0, #96]
    ldp     x14, x15, [x0, #112]
    ldp     x16, x17, [x0, #128]
    ldp     x18, x19, [x0, #144]
    ldp     x20, x21, [x0, #160]
    ldp     x22, x23, [x0, #176]
    ldp     x24, x25, [x0, #192]
    ldp     x26, x27, [x0, #208]
    ldp     x28, x29, [x0, #224]
    ldr     x30, [x0, #240]
    ldp     x0, x1, [x0]
    eret
    // No speculation past the return.
    dsb     nsh
    isb

// From a vector: user x0 and x1 are on the stack, x1 holds the kind of trap.
.balign 64
leave_user:
    ldr     x0, [sp, #16 + FRAME_CTX]
    stp     x2, x3, [x0, #16]
    stp     x4, x5, [x0, #32]
    stp     x6, x7, [x0, #48]
    stp     x8, x9, [x0, #64]
    stp     x10, x11, [x0, #80]
    stp     x12, x13, [x0, #96]
    stp     x14, x15, [x0, #112]
    stp     x16, x17, [x0, #128]
    stp     x18, x19, [x0, #144]
    stp     x20, x21, [x0, #160]
    stp     x22, x23, [x0, #176]
    stp     x24, x25, [x0, #192]
    stp     x26, x27, [x0, #208]
    stp     x28, x29, [x0, #224]
    str     x30, [x0, #240]
    ldp     x2, x3, [sp], #16
    mrs     x4, sp_el0
    mrs     x5, elr_el1
    mrs     x6, spsr_el1
    mrs     x7, tpidr_el0
    stp     x2, x3, [x0]
    stp     x4, x5, [x0, #CTX_SP]
    stp     x6, x7, [x0, #CTX_PSTATE]
    mov     x0, x1
    mrs     x1, esr_el1
    ldp     x27, x28, [sp, #16]
    ldp     x25, x26, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x21, x22, [sp, #64]
    ldp     x19, x20, [sp, #80]
    ldp     x29, x30, [sp], #FRAME
    ret

// An interrupt of kernel code: only what a Rust function may clobber has to be kept. 192 bytes were made room for.
.balign 64
kernel_interrupt:
    stp     x0, x1, [sp]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    stp     x18, x1, [sp, #144]
    str     x30, [sp, #160]
    stp     x29, x0, [sp, #176]     // a frame record of the interrupted code, for backtraces
    add     x29, sp, #176
    bl      kernel_interrupt_handler
    ldp     x29, x0, [sp, #176]
    ldr     x30, [sp, #160]
    ldp     x18, x1, [sp, #144]
    msr     elr_el1, x0
    msr     spsr_el1, x1
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp]
    add     sp, sp, #192
    eret

// A synchronous exception of kernel code: a user copy that faulted, or a bug. 288 bytes were made room for.
.balign 64
kernel_synchronous:
    stp     x0, x1, [sp]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    add     x0, sp, #288
    stp     x30, x0, [sp, #240]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    stp     x0, x1, [sp, #256]
    stp     x29, x0, [sp, #272]
    add     x29, sp, #272
    mov     x0, sp
    mrs     x1, esr_el1
    mrs     x2, far_el1
    bl      kernel_synchronous_handler
    ldp     x0, x1, [sp, #256]
    msr     elr_el1, x0
    msr     spsr_el1, x1
    ldp     x28, x29, [sp, #224]
    ldp     x26, x27, [sp, #208]
    ldp     x24, x25, [sp, #192]
    ldp     x22, x23, [sp, #176]
    ldp     x20, x21, [sp, #160]
    ldp     x18, x19, [sp, #144]
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp]
    ldr     x30, [sp, #240]
    add     sp, sp, #288
    eret

// The kernel stack ran into its guard page: report it on this core's emergency stack.
kernel_stack_overflow:
    sub     x0, sp, x0
    sub     sp, sp, x0
    mov     x0, sp
    mrs     x1, tpidr_el1
    ldr     x1, [x1, #8]
    mov     sp, x1
    mov     x1, x29
    mrs     x2, elr_el1
    mrs     x3, far_el1
    bl      kernel_stack_overflow_handler
    b       .

kernel_bad_vector:
    mrs     x1, esr_el1
    mrs     x2, elr_el1
    mrs     x3, far_el1
    bl      kernel_bad_vector_handler
    b       .
