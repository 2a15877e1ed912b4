// Copying and filling memory: the compiler's mem* functions, and the user copies with their fault fix-ups.
//
// The fix-up table holds pairs of 32-bit offsets, each from its own address: an instruction that may fault, and where to go on then.

.macro fixup at, to
    .pushsection .fixups, "a"
    .balign 4
    .long   \at - .
    .long   \to - .
    .popsection
.endm

.section .text.memory, "ax"

// fn memcpy(x0 destination, x1 source, x2 length) -> destination
.global memcpy
.balign 64
memcpy:
    mov     x3, x0
    subs    x2, x2, #64
    b.lo    2f
1:  ldp     x4, x5, [x1]
    ldp     x6, x7, [x1, #16]
    ldp     x8, x9, [x1, #32]
    ldp     x10, x11, [x1, #48]
    stp     x4, x5, [x3]
    stp     x6, x7, [x3, #16]
    stp     x8, x9, [x3, #32]
    stp     x10, x11, [x3, #48]
    add     x1, x1, #64
    add     x3, x3, #64
    subs    x2, x2, #64
    b.hs    1b
2:  tbz     x2, #5, 3f
    ldp     x4, x5, [x1], #16
    ldp     x6, x7, [x1], #16
    stp     x4, x5, [x3], #16
    stp     x6, x7, [x3], #16
3:  tbz     x2, #4, 4f
    ldp     x4, x5, [x1], #16
    stp     x4, x5, [x3], #16
4:  tbz     x2, #3, 5f
    ldr     x4, [x1], #8
    str     x4, [x3], #8
5:  tbz     x2, #2, 6f
    ldr     w4, [x1], #4
    str     w4, [x3], #4
6:  tbz     x2, #1, 7f
    ldrh    w4, [x1], #2
    strh    w4, [x3], #2
7:  tbz     x2, #0, 8f
    ldrb    w4, [x1]
    strb    w4, [x3]
8:  ret

// fn memmove(x0 destination, x1 source, x2 length) -> destination
.global memmove
.balign 64
memmove:
    sub     x3, x0, x1
    cmp     x3, x2
    b.hs    memcpy                  // the destination does not start inside the source
    add     x3, x0, x2
    add     x1, x1, x2
1:  cmp     x2, #16
    b.lo    2f
    ldp     x4, x5, [x1, #-16]!
    stp     x4, x5, [x3, #-16]!
    sub     x2, x2, #16
    b       1b
2:  cbz     x2, 3f
    ldrb    w4, [x1, #-1]!
    strb    w4, [x3, #-1]!
    sub     x2, x2, #1
    b       2b
3:  ret

// fn memset(x0 destination, w1 byte, x2 length) -> destination
.global memset
.balign 64
memset:
    mov     x3, x0
    and     x1, x1, #0xff
    orr     x1, x1, x1, lsl #8
    orr     x1, x1, x1, lsl #16
    orr     x1, x1, x1, lsl #32
    subs    x2, x2, #64
    b.lo    2f
1:  stp     x1, x1, [x3]
    stp     x1, x1, [x3, #16]
    stp     x1, x1, [x3, #32]
    stp     x1, x1, [x3, #48]
    add     x3, x3, #64
    subs    x2, x2, #64
    b.hs    1b
2:  tbz     x2, #5, 3f
    stp     x1, x1, [x3], #16
    stp     x1, x1, [x3], #16
3:  tbz     x2, #4, 4f
    stp     x1, x1, [x3], #16
4:  tbz     x2, #3, 5f
    str     x1, [x3], #8
5:  tbz     x2, #2, 6f
    str     w1, [x3], #4
6:  tbz     x2, #1, 7f
    strh    w1, [x3], #2
7:  tbz     x2, #0, 8f
    strb    w1, [x3]
8:  ret

// fn memcmp(x0 left, x1 right, x2 length) -> difference; bcmp is the same.
.global memcmp
.global bcmp
.balign 64
memcmp:
bcmp:
1:  cmp     x2, #8
    b.lo    2f
    ldr     x3, [x0], #8
    ldr     x4, [x1], #8
    sub     x2, x2, #8
    cmp     x3, x4
    b.eq    1b
    rev     x3, x3
    rev     x4, x4
    cmp     x3, x4
    cset    w0, hi
    csinv   w0, w0, wzr, hs
    ret
2:  cbz     x2, 3f
    ldrb    w3, [x0], #1
    ldrb    w4, [x1], #1
    sub     x2, x2, #1
    subs    w3, w3, w4
    b.eq    2b
    mov     w0, w3
    ret
3:  mov     w0, #0
    ret

// fn zero_page_by_line(x0 page, x1 bytes a DC ZVA clears): the page is 4096 bytes and aligned.
.global zero_page_by_line
.balign 64
zero_page_by_line:
    add     x2, x0, #4096
1:  dc      zva, x0
    add     x0, x0, x1
    dc      zva, x0
    add     x0, x0, x1
    dc      zva, x0
    add     x0, x0, x1
    dc      zva, x0
    add     x0, x0, x1
    cmp     x0, x2
    b.lo    1b
    ret

// fn user_copy(x0 destination, x1 source, x2 length) -> bytes not copied. Either side may be user memory.
// A fault in a large step is retried byte by byte from its start, so that the count is exact.
.global user_copy
.balign 64
user_copy:
    cmp     x2, #64
    b.lo    2f
1:  ldp     x4, x5, [x1]
11: ldp     x6, x7, [x1, #16]
12: ldp     x8, x9, [x1, #32]
13: ldp     x10, x11, [x1, #48]
14: stp     x4, x5, [x0]
15: stp     x6, x7, [x0, #16]
16: stp     x8, x9, [x0, #32]
17: stp     x10, x11, [x0, #48]
    add     x1, x1, #64
    add     x0, x0, #64
    sub     x2, x2, #64
    cmp     x2, #64
    b.hs    1b
2:  cmp     x2, #8
    b.lo    4f
3:  ldr     x4, [x1]
31: str     x4, [x0]
    add     x1, x1, #8
    add     x0, x0, #8
    sub     x2, x2, #8
    cmp     x2, #8
    b.hs    3b
4:  cbz     x2, 6f
5:  ldrb    w4, [x1]
51: strb    w4, [x0]
    add     x1, x1, #1
    add     x0, x0, #1
    subs    x2, x2, #1
    b.ne    5b
6:  mov     x0, x2
    ret
    fixup   1b, 4b
    fixup   11b, 4b
    fixup   12b, 4b
    fixup   13b, 4b
    fixup   14b, 4b
    fixup   15b, 4b
    fixup   16b, 4b
    fixup   17b, 4b
    fixup   3b, 4b
    fixup   31b, 4b
    fixup   5b, 6b
    fixup   51b, 6b

// fn user_zero(x0 destination, x1 length) -> bytes not zeroed
.global user_zero
.balign 64
user_zero:
1:  cmp     x1, #16
    b.lo    3f
2:  stp     xzr, xzr, [x0]
    add     x0, x0, #16
    sub     x1, x1, #16
    b       1b
3:  cbz     x1, 5f
4:  strb    wzr, [x0]
    add     x0, x0, #1
    sub     x1, x1, #1
    b       3b
5:  mov     x0, x1
    ret
    fixup   2b, 3b
    fixup   4b, 5b

// fn user_load_u32(x0 address) -> value, or -1 in 64 bits
.global user_load_u32
user_load_u32:
1:  ldr     w0, [x0]
    ret
2:  mov     x0, #-1
    ret
    fixup   1b, 2b

// fn user_compare_exchange_u32(x0 address, w1 expected, w2 new) -> value found, or -1 in 64 bits
.global user_compare_exchange_u32
user_compare_exchange_u32:
1:  ldaxr   w3, [x0]
    cmp     w3, w1
    b.ne    3f
2:  stlxr   w4, w2, [x0]
    cbnz    w4, 1b
    dmb     ish
    mov     w0, w3
    ret
3:  clrex
    mov     w0, w3
    ret
4:  clrex
    mov     x0, #-1
    ret
    fixup   1b, 4b
    fixup   2b, 4b
