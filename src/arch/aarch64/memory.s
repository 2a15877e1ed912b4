// Copying and filling memory: the compiler's mem* functions, and the user copies with their fault fix-ups.
//
// The fix-up table holds triples of 32-bit offsets, each from its own address: the first instruction that may fault, the end of those
// that may, and where to go on then.

.macro fixup from, end, to
    .pushsection .fixups, "a"
    .balign 4
    .long   \from - .
    .long   \end - .
    .long   \to - .
    .popsection
.endm

// Moves 64 bytes, `at` bytes further on.
.macro move_64 at
    ldp     x4, x5, [x1, #\at]
    ldp     x6, x7, [x1, #\at + 16]
    ldp     x8, x9, [x1, #\at + 32]
    ldp     x10, x11, [x1, #\at + 48]
    stp     x4, x5, [x0, #\at]
    stp     x6, x7, [x0, #\at + 16]
    stp     x8, x9, [x0, #\at + 32]
    stp     x10, x11, [x0, #\at + 48]
.endm

// Moves x2 bytes from x1 to x0, which always points behind what has been stored.
.macro move
    subs    x3, x2, #256
    b.lo    102f
101:
    move_64 0
    move_64 64
    move_64 128
    move_64 192
    add     x1, x1, #256
    add     x0, x0, #256
    subs    x3, x3, #256
    b.hs    101b
102:
    tbz     x2, #7, 103f
    move_64 0
    move_64 64
    add     x1, x1, #128
    add     x0, x0, #128
103:
    tbz     x2, #6, 104f
    move_64 0
    add     x1, x1, #64
    add     x0, x0, #64
104:
    tbz     x2, #5, 105f
    ldp     x4, x5, [x1], #16
    ldp     x6, x7, [x1], #16
    stp     x4, x5, [x0], #16
    stp     x6, x7, [x0], #16
105:
    tbz     x2, #4, 106f
    ldp     x4, x5, [x1], #16
    stp     x4, x5, [x0], #16
106:
    tbz     x2, #3, 107f
    ldr     x4, [x1], #8
    str     x4, [x0], #8
107:
    tbz     x2, #2, 108f
    ldr     w4, [x1], #4
    str     w4, [x0], #4
108:
    tbz     x2, #1, 109f
    ldrh    w4, [x1], #2
    strh    w4, [x0], #2
109:
    tbz     x2, #0, 110f
    ldrb    w4, [x1]
    strb    w4, [x0]
110:
.endm

// Fills x2 bytes at x0, which always points behind what has been stored, with the byte that x1 repeats.
.macro fill
    subs    x3, x2, #64
    b.lo    102f
101:
    stp     x1, x1, [x0]
    stp     x1, x1, [x0, #16]
    stp     x1, x1, [x0, #32]
    stp     x1, x1, [x0, #48]
    add     x0, x0, #64
    subs    x3, x3, #64
    b.hs    101b
102:
    tbz     x2, #5, 103f
    stp     x1, x1, [x0], #16
    stp     x1, x1, [x0], #16
103:
    tbz     x2, #4, 104f
    stp     x1, x1, [x0], #16
104:
    tbz     x2, #3, 105f
    str     x1, [x0], #8
105:
    tbz     x2, #2, 106f
    str     w1, [x0], #4
106:
    tbz     x2, #1, 107f
    strh    w1, [x0], #2
107:
    tbz     x2, #0, 108f
    strb    w1, [x0]
108:
.endm

.section .text.memory, "ax"

// fn memcpy(x0 destination, x1 source, x2 length) -> destination
.global memcpy
.balign 64
memcpy:
    mov     x12, x0
    move
    mov     x0, x12
    ret

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
    mov     x12, x0
    and     x1, x1, #0xff
    orr     x1, x1, x1, lsl #8
    orr     x1, x1, x1, lsl #16
    orr     x1, x1, x1, lsl #32
    fill
    mov     x0, x12
    ret

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
// What a fault leaves is tried again byte by byte, so that the count is exact.
.global user_copy
.balign 64
user_copy:
    add     x12, x1, x2             // the ends
    add     x13, x0, x2
1:  move
2:  mov     x0, #0
    ret
3:  sub     x2, x13, x0
    sub     x1, x12, x2
4:  ldrb    w4, [x1], #1
    strb    w4, [x0], #1
    subs    x2, x2, #1
    b.ne    4b
5:  mov     x0, x2
    ret
    fixup   1b, 2b, 3b
    fixup   4b, 5b, 5b

// fn user_string(x0 destination, x1 source, x2 length) -> what is left of the length where the zero byte was found, which is not
// counted; or with bit 63 set, what is left where there was none, because of the length or of a fault.
.global user_string
.balign 64
user_string:
    mov     x6, #0x0101010101010101
    subs    x2, x2, #8
    b.lo    2f
1:  ldr     x3, [x1]                // eight bytes at a time
11: sub     x4, x3, x6
    bic     x4, x4, x3
    str     x3, [x0], #8
    ands    x4, x4, x6, lsl #7      // the lowest bit is that of the first zero byte
    b.ne    5f
    add     x1, x1, #8
    subs    x2, x2, #8
    b.hs    1b
2:  adds    x2, x2, #8              // one byte at a time: the rest, or what a fault among eight leaves
    b.eq    4f
3:  ldrb    w3, [x1], #1
    strb    w3, [x0], #1
    cbz     w3, 6f
    subs    x2, x2, #1
    b.ne    3b
4:  orr     x0, x2, #1 << 63
    ret
5:  rbit    x4, x4
    clz     x4, x4
    add     x2, x2, #8
    sub     x2, x2, x4, lsr #3
6:  mov     x0, x2
    ret
    fixup   1b, 11b, 2b
    fixup   3b, 4b, 4b

// fn user_zero(x0 destination, x1 length) -> bytes not zeroed
.global user_zero
.balign 64
user_zero:
    add     x13, x0, x1             // the end
    mov     x2, x1
    mov     x1, #0
1:  fill
2:  mov     x0, #0
    ret
3:  sub     x2, x13, x0
4:  strb    wzr, [x0], #1
    subs    x2, x2, #1
    b.ne    4b
5:  mov     x0, x2
    ret
    fixup   1b, 2b, 3b
    fixup   4b, 5b, 5b

// fn user_load_u32(x0 address) -> value, or -1 in 64 bits
.global user_load_u32
user_load_u32:
1:  ldr     w0, [x0]
2:  ret
3:  mov     x0, #-1
    ret
    fixup   1b, 2b, 3b

// fn user_compare_exchange_u32(x0 address, w1 expected, w2 new) -> value found, or -1 in 64 bits
.global user_compare_exchange_u32
user_compare_exchange_u32:
1:  ldaxr   w3, [x0]
    cmp     w3, w1
    b.ne    3f
    stlxr   w4, w2, [x0]
2:  cbnz    w4, 1b
    dmb     ish
    mov     w0, w3
    ret
3:  clrex
    mov     w0, w3
    ret
4:  clrex
    mov     x0, #-1
    ret
    fixup   1b, 2b, 4b
