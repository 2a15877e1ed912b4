// Leaving one stack for another. Both functions run with interrupts masked.

.equ SWITCH_FRAME, 96               // x19-x30

.section .text.stack_switch, "ax"

// fn switch_stack(x0: where to keep the stack pointer, x1: the stack pointer to go on with)
// Returns on the other stack, to whoever left that one in here; comes back when somebody switches to what was kept.
.global switch_stack
.balign 64
switch_stack:
    stp     x29, x30, [sp, #-SWITCH_FRAME]!
    stp     x27, x28, [sp, #16]
    stp     x25, x26, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x21, x22, [sp, #64]
    stp     x19, x20, [sp, #80]
    mov     x2, sp
    str     x2, [x0]
    mov     sp, x1
    ldp     x27, x28, [sp, #16]
    ldp     x25, x26, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x21, x22, [sp, #64]
    ldp     x19, x20, [sp, #80]
    ldp     x29, x30, [sp], #SWITCH_FRAME
    ret

// Where the first switch to a new stack returns to: calls x20 with x19. It does not come back.
.global task_stack_start
task_stack_start:
    mov     x0, x19
    blr     x20
    brk     #0
