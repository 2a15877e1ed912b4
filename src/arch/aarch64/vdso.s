// The vDSO: a small shared object that the kernel maps into every program (vdso(7)), right behind a page of clock data.
//
// Its symbols have no versions and one hash bucket: the C libraries search its few names by comparing them. Addresses in the object are
// offsets from its start.

.equ DATA, -4096                    // the data page, relative to the object
.equ DATA_SEQUENCE, 0               // odd while the data changes
.equ DATA_START, 8                  // counter value at which the monotonic clock was 0
.equ DATA_SCALE, 16                 // nanoseconds a tick, 32 fractional bits
.equ DATA_REALTIME, 24              // nanoseconds from the monotonic to the real-time clock

.section .rodata.vdso, "a"
.balign 4096
.global __vdso_start
__vdso_start:
    // ELF header
    .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0
    .quad   0
    .short  3, 183                  // ET_DYN, EM_AARCH64
    .long   1
    .quad   0                       // no entry
    .quad   vdso_programs - __vdso_start
    .quad   0                       // no sections
    .long   0
    .short  64, 56, 2, 64, 0, 0
vdso_programs:
    .long   1, 5                    // PT_LOAD, R-X
    .quad   0, 0, 0, __vdso_end - __vdso_start, __vdso_end - __vdso_start, 4096
    .long   2, 4                    // PT_DYNAMIC, R--
    .quad   vdso_dynamic - __vdso_start, vdso_dynamic - __vdso_start, vdso_dynamic - __vdso_start
    .quad   vdso_dynamic_end - vdso_dynamic, vdso_dynamic_end - vdso_dynamic, 8
.balign 8
vdso_dynamic:
    .quad   4, vdso_hash - __vdso_start
    .quad   5, vdso_strings - __vdso_start
    .quad   6, vdso_symbols - __vdso_start
    .quad   10, vdso_strings_end - vdso_strings
    .quad   11, 24
    .quad   14, vdso_name - vdso_strings
    .quad   0, 0
vdso_dynamic_end:
vdso_hash:
    .long   1, 5, 1                 // one bucket, five symbols, the chain starts with 1
    .long   0, 2, 3, 4, 0
.balign 8
.macro vdso_symbol name, at, end
    .long   \name - vdso_strings
    .byte   0x12, 0                 // global function
    .short  1
    .quad   \at - __vdso_start, \end - \at
.endm
vdso_symbols:
    .long   0
    .byte   0, 0
    .short  0
    .quad   0, 0
    vdso_symbol vdso_name_1, vdso_clock_gettime, vdso_clock_gettime_end
    vdso_symbol vdso_name_2, vdso_gettimeofday, vdso_gettimeofday_end
    vdso_symbol vdso_name_3, vdso_clock_getres, vdso_clock_getres_end
    vdso_symbol vdso_name_4, __vdso_sigreturn, vdso_sigreturn_end
vdso_strings:
    .byte   0
vdso_name:   .asciz "linux-vdso.so.1"
vdso_name_1: .asciz "__kernel_clock_gettime"
vdso_name_2: .asciz "__kernel_gettimeofday"
vdso_name_3: .asciz "__kernel_clock_getres"
vdso_name_4: .asciz "__kernel_rt_sigreturn"
vdso_strings_end:

.balign 64
// int clock_gettime(w0 clock, x1 timespec *)
vdso_clock_gettime:
    adr     x2, __vdso_start + DATA
    cmp     w0, #7                  // CLOCK_BOOTTIME, the last one known
    b.hi    5f
    mov     w3, #0xf3               // 0, 1, 4, 5, 6, 7: not the CPU-time clocks 2 and 3
    lsr     w3, w3, w0
    tbz     w3, #0, 5f
    cmp     w0, #0                  // CLOCK_REALTIME
    ccmp    w0, #5, #4, ne          // CLOCK_REALTIME_COARSE
1:  ldr     w3, [x2, #DATA_SEQUENCE]
    tbnz    w3, #0, 1b
    dmb     ishld
    isb
    mrs     x4, cntvct_el0
    ldp     x5, x6, [x2, #DATA_START]
    ldr     x7, [x2, #DATA_REALTIME]
    dmb     ishld
    ldr     w8, [x2, #DATA_SEQUENCE]
    sub     w8, w8, w3
    cbnz    w8, 1b
    sub     x4, x4, x5
    mul     x5, x4, x6
    umulh   x6, x4, x6
    extr    x4, x6, x5, #32
    csel    x7, x7, xzr, eq
    add     x4, x4, x7
    mov     w5, #0xca00             // 10^9
    movk    w5, #0x3b9a, lsl #16
    udiv    x6, x4, x5
    msub    x7, x6, x5, x4
    stp     x6, x7, [x1]
    mov     w0, #0
    ret
5:  mov     x8, #113
    svc     #0
    ret
vdso_clock_gettime_end:

.balign 64
// int gettimeofday(x0 timeval *, x1 timezone *)
vdso_gettimeofday:
    cbz     x1, 1f
    str     xzr, [x1]
1:  cbz     x0, 3f
    adr     x2, __vdso_start + DATA
2:  ldr     w3, [x2, #DATA_SEQUENCE]
    tbnz    w3, #0, 2b
    dmb     ishld
    isb
    mrs     x4, cntvct_el0
    ldp     x5, x6, [x2, #DATA_START]
    ldr     x7, [x2, #DATA_REALTIME]
    dmb     ishld
    ldr     w8, [x2, #DATA_SEQUENCE]
    cmp     w8, w3
    b.ne    2b
    sub     x4, x4, x5
    mul     x5, x4, x6
    umulh   x6, x4, x6
    extr    x4, x6, x5, #32
    add     x4, x4, x7
    mov     w5, #0xca00
    movk    w5, #0x3b9a, lsl #16
    udiv    x6, x4, x5
    msub    x7, x6, x5, x4
    mov     w5, #1000
    udiv    x7, x7, x5
    stp     x6, x7, [x0]
3:  mov     w0, #0
    ret
vdso_gettimeofday_end:

.balign 64
// int clock_getres(w0 clock, x1 timespec *)
vdso_clock_getres:
    mov     x8, #114
    svc     #0
    ret
vdso_clock_getres_end:

.balign 64
    nop                             // unwinders look at the instruction before the return address's function
// Where a signal handler returns to. Unwinders know a signal frame by just these two instructions.
.global __vdso_sigreturn
__vdso_sigreturn:
    mov     x8, #139
    svc     #0
vdso_sigreturn_end:
.balign 16
.global __vdso_end
__vdso_end:
.balign 4096
