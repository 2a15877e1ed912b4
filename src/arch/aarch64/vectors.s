// Exception vectors, and the way into user mode and back.
//
// User mode is a function call: `enter_user` keeps the context's address and what its caller cannot on the kernel stack, and
// returns when user mode traps. Nothing else may be on the stack above the vector's SP at that moment.

.equ CTX_SP, 248
.equ CTX_PSTATE, 264

// What the syndrome says of a trap that is no synchronous exception; bits that ESR_EL1 never sets.
.equ INTERRUPT_BIT, 63
.equ SERROR_BIT, 62

// Stores or loads x2 to x17 in an array of registers: with x0 and x1, what a Rust function may clobber.
.macro x2_to_x17 operation, base
    \operation x2, x3, [\base, #16]
    \operation x4, x5, [\base, #32]
    \operation x6, x7, [\base, #48]
    \operation x8, x9, [\base, #64]
    \operation x10, x11, [\base, #80]
    \operation x12, x13, [\base, #96]
    \operation x14, x15, [\base, #112]
    \operation x16, x17, [\base, #128]
.endm

.macro x2_to_x29 operation, base
    x2_to_x17 \operation, \base
    \operation x18, x19, [\base, #144]
    \operation x20, x21, [\base, #160]
    \operation x22, x23, [\base, #176]
    \operation x24, x25, [\base, #192]
    \operation x26, x27, [\base, #208]
    \operation x28, x29, [\base, #224]
.endm

// The end of user mode, in a vector of 32 instructions: returns from `enter_user` with the syndrome, which x1 holds already; user x0
// and x1 are on the stack.
.macro leave_user
    ldr     x0, [sp, #16]
    x2_to_x29 stp, x0
    str     x30, [x0, #240]
    ldp     x2, x3, [sp], #16
    mrs     x4, sp_el0
    mrs     x5, elr_el1
    mrs     x6, spsr_el1
    mrs     x7, tpidr_el0
    stp     x2, x3, [x0]
    stp     x4, x5, [x0, #CTX_SP]
    stp     x6, x7, [x0, #CTX_PSTATE]
    ldp     x29, x30, [sp, #16]
    ldp     x0, x19, [sp], #32
    ret
.endm

.macro user_interrupt
    .balign 128
    stp     x0, x1, [sp, #-16]!
    mov     x1, #1 << INTERRUPT_BIT
    leave_user
.endm

.macro user_error
    .balign 128
    stp     x0, x1, [sp, #-16]!
    mrs     x1, esr_el1
    orr     x1, x1, #1 << SERROR_BIT
    leave_user
.endm

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
    .balign 128
    stp     x0, x1, [sp, #-16]!
    mrs     x1, esr_el1
    leave_user
    user_interrupt
    user_interrupt
    user_error

    // Lower level, AArch32: user programs are AArch64 alone.
    user_error
    user_error
    user_error
    user_error

// fn enter_user(x0 context: *mut UserContext) -> x1 the syndrome. Keeps x19 and x29, no other register.
// Interrupts are masked on entry and on return.
.global enter_user
.balign 64
enter_user:
    stp     x0, x19, [sp, #-32]!
    stp     x29, x30, [sp, #16]
    ldp     x1, x2, [x0, #CTX_SP]
    ldp     x3, x4, [x0, #CTX_PSTATE]
    msr     sp_el0, x1
    msr     elr_el1, x2
    msr     spsr_el1, x3
    msr     tpidr_el0, x4
    x2_to_x29 ldp, x0
    ldr     x30, [x0, #240]
    ldp     x0, x1, [x0]
    eret
    // No speculation past the return.
    dsb     nsh
    isb

// An interrupt of kernel code: only what a Rust function may clobber has to be kept. 192 bytes were made room for.
.balign 64
kernel_interrupt:
    stp     x0, x1, [sp]
    x2_to_x17 stp, sp
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
    x2_to_x17 ldp, sp
    ldp     x0, x1, [sp]
    add     sp, sp, #192
    eret

// A synchronous exception of kernel code: a user copy that faulted, or a bug. 288 bytes were made room for.
.balign 64
kernel_synchronous:
    stp     x0, x1, [sp]
    x2_to_x29 stp, sp
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
    x2_to_x29 ldp, sp
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
