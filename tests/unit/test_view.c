// SPDX-License-Identifier: BSD-2-Clause
//
// What there is to see of a vCPU: the ring of its last exits, the bytes at its RIP through page
// tables of all kinds, and the screen, line by line.
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>

#include "libc/start.h"
#include "libc/time.h"
#include "vmm/cpu/view.h"

#define NOW 1000000000000ull // ticks, which are nanoseconds here

static int setup(void **state)
{
    (void)state;
    time_init(1000000000);
    return 0;
}

// As the run loop puts it, so long ago.
static void put(struct exit_ring *ring, uint64_t ago, uint32_t kind, uint32_t word, uint64_t a,
                uint64_t b)
{
    const uint8_t at = ring->next;
    struct exit_record *record = exit_ring_record(ring, at);

    exit_ring_put(ring, (struct exit_ring *)(void *)((uint8_t *)ring + at), kind, word);
    assert_int_equal(exit_ring_last(ring), at);
    assert_int_equal(exit_ring_kind(ring), kind);
    assert_true(record->tsc_low != 0 || record->tsc_high != 0);
    record->tsc_low = (uint32_t)(NOW - ago);
    record->tsc_high = (uint32_t)((NOW - ago) >> 32);
    *exit_ring_more(ring, at) = (struct exit_more){ a, b };
}

static void expect_words(const struct exit_ring *ring, unsigned i, const char *words)
{
    char text[EXIT_WORDS + 1];

    assert_true(exit_ring_words(ring, i, NOW, text));
    assert_string_equal(text, words);
}

// One alone; then as many as there is room for, the oldest first; then it goes round, twice.
static void test_ring(void **state)
{
    struct exit_ring ring = { 0 };
    char text[EXIT_WORDS + 1], words[32];
    (void)state;

    for (unsigned i = 0; i < EXIT_RING; i++)
        assert_false(exit_ring_words(&ring, i, NOW, text));
    for (unsigned count = 1; count <= 3 * EXIT_RING; count++) {
        put(&ring, 5000, VM_EXIT_EOI, 0, count, 0);
        for (unsigned i = 0; i < EXIT_RING; i++) {
            if (count + i < EXIT_RING) {
                assert_false(exit_ring_words(&ring, i, NOW, text));
                continue;
            }
            snprintf(words, sizeof(words), " 5us EOI of vector %x", count + i + 1 - EXIT_RING);
            expect_words(&ring, i, words);
        }
    }
}

static void test_words(void **state)
{
    static const struct {
        uint32_t kind, word;
        uint64_t a, b;
        const char *words;
    } row[] = {
        { VM_EXIT_PIO, 0x3F80000, 1, 2, " 5us outb 3f8" },
        { VM_EXIT_PIO, 0xFFFF0000 | VM_PIO_IN | 3, 1, 2, " 5us inl ffff" },
        { VM_EXIT_PIO, 0x1F00000 | VM_PIO_IN | VM_PIO_STRING | VM_PIO_REP | 1, 0, 0,
          " 5us rep insw 1f0" },
        { VM_EXIT_PIO, 0x800000 | VM_PIO_STRING, 0, 0, " 5us outsb 80" },
        { VM_EXIT_MMIO, VM_MMIO_READ, 0xFEC00010, 0x101234, " 5us read fec00010 101234" },
        { VM_EXIT_MMIO, VM_MMIO_WRITE | VM_MMIO_READ, 0xFEE000B0, 0xFFFFFFFF81012345,
          " 5us write fee000b0 ffffffff81012345" },
        { VM_EXIT_MMIO, VM_MMIO_WRITE, 0xFFEE000B0, 0xFFFFFFFF81012345, " 5us write ffee000b0" },
        { VM_EXIT_MMIO, VM_MMIO_EXEC, 0xFFFFFFFFFF000, 0, " 5us fetch ffffffffff000 0" },
        { VM_EXIT_EVENT, 0, VMM_BIT_TIMER | VMM_BIT_CONSOLE, 0, " 5us event timer console" },
        { VM_EXIT_EVENT, 0, VMM_BIT_STOP | VMM_BIT_DUMP(15), 0, " 5us event stop dump" },
        { VM_EXIT_EVENT, 0, VMM_BIT_LOCK, 0, " 5us event" },
        { VM_EXIT_INTR_ACK, 0, 0x30, 0, " 5us vector of the PIC 30" },
        { VM_EXIT_INTR_ACK, 0, UINT64_MAX, 0, " 5us vector of the PIC" },
        { VM_EXIT_LAPIC_READ, 0, 0xABC, 0, " 5us local APIC reads abc" },
        { VM_EXIT_SHUTDOWN, 0, 1, 2, " 5us triple fault" },
        { VM_EXIT_INIT, 0, 1, 2, " 5us INIT" },
        { VM_EXIT_SIPI, 0, 0x9A, 2, " 5us start-up IPI 9a" },
        { VM_EXIT_HALTED, 0, 1, 2, " 5us HLT, interrupts off" },
        { VM_EXIT_RDMSR, 0, 0xC0010015, 7, " 5us rdmsr c0010015" },
        { VM_EXIT_WRMSR, 0, 0x1A0, 0x1234567890ABCDEF, " 5us wrmsr 1a0 1234567890abcdef" },
        { VM_EXIT_DECODE, 0, 0xFFFFFFFF81012345, 0, " 5us decode ffffffff81012345" },
        { VM_EXIT_TASK, 0, 0x28, 0x101234, " 5us task switch 28 101234" },
        { VM_EXIT_KILLED, 0, 2, 0x3F, " 5us killed 2 3f" },
        { 99, 0, 1, 2, " 5us kind 99" },
        { (uint32_t)ERR_STATE, 0, 1, 2, " 5us refused: -10" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct exit_ring ring = { 0 };
        put(&ring, 5000, row[i].kind, row[i].word, row[i].a, row[i].b);
        expect_words(&ring, EXIT_RING - 1, row[i].words);
    }
}

static void test_ages(void **state)
{
    static const struct { uint64_t ns; const char *text; } row[] = {
        { 0, "0us" }, { 999, "0us" }, { 1000, "1us" }, { 99999, "99us" }, { 100000, ".1ms" },
        { 999999, ".9ms" }, { 1000000, "1ms" }, { 99999999, "99ms" }, { 100000000, ".1s" },
        { 999999999, ".9s" }, { 1000000000, "1s" }, { 999999999999, "999s" },
        { 1000000000000, "16m" }, { 5999999999999, "99m" }, { 6000000000000, "1h" },
        { 3599999999999999, "999h" }, { 3600000000000000, "old" }, { UINT64_MAX, "old" },
    };
    char text[8];
    (void)state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        exit_ring_age(row[i].ns, text);
        assert_string_equal(text, row[i].text);
    }
}

// What the page says goes to the last exit, and only there.
static void test_tell(void **state)
{
    struct vcpu_page *page = calloc(1, sizeof(*page));
    struct exit_ring ring = { 0 };
    (void)state;

    put(&ring, 1000, VM_EXIT_EOI, 0, 0x20, 0);
    put(&ring, 1000, VM_EXIT_WRMSR, 0, 1, 1);
    page->gpr[GPR_RCX] = 0xFFFFFFFF00000201;
    page->gpr[GPR_RAX] = 0xFFFFFFFFC0000800;
    page->gpr[GPR_RDX] = 0xFFFFFFFF0000007F;
    exit_ring_tell(&ring, page);
    expect_words(&ring, EXIT_RING - 1, " 1us wrmsr 201 7fc0000800");
    expect_words(&ring, EXIT_RING - 2, " 1us EOI of vector 20");
    put(&ring, 1000, VM_EXIT_MMIO, VM_MMIO_READ, 1, 1);
    page->exit.mmio.gpa = 0xFED00000;
    page->exit.rip = 0x1000;
    exit_ring_tell(&ring, page);
    expect_words(&ring, EXIT_RING - 1, " 1us read fed00000 1000");
    put(&ring, 1000, VM_EXIT_INTR_ACK, 0, 1, 1);
    page->entry.intr_vector = 0x31;
    exit_ring_tell(&ring, page);
    expect_words(&ring, EXIT_RING - 1, " 1us vector of the PIC"); // not acknowledged yet
    page->entry.flags = VM_ENTRY_INTR;
    exit_ring_tell(&ring, page);
    expect_words(&ring, EXIT_RING - 1, " 1us vector of the PIC 31");
    free(page);
}

// RAM of 4 MB whose bytes are their addresses' lowest, and a vCPU with 64-bit code at `rip`. PML4
// at 0x1000, PDPT 0x2000, PD 0x3000, PT 0x4000; all is mapped where it is, in pages of 4 KB from
// 0x200000 on.
static struct view *code_world(struct guest_ram *ram, uint64_t rip)
{
    struct view *view = calloc(1, sizeof(*view));

    ram_init(ram, malloc(4 << 20), 4 << 20);
    for (unsigned i = 0; i < 4 << 20; i++)
        ram->base[i] = (uint8_t)i;
    memset(ram->base + 0x1000, 0, 0x4000);
    guest_put(ram, 0x1000, 8, 0x2003);
    guest_put(ram, 0x2000, 8, 0x3003);
    guest_put(ram, 0x3000, 8, 0x83);
    guest_put(ram, 0x3008, 8, 0x4003);
    for (unsigned i = 0; i < 512; i++)
        guest_put(ram, 0x4000 + 8 * i, 8, (0x200000 + i * 0x1000) | 3);
    view->sregs = (struct vcpu_sregs){
        .rip = rip, .rflags = 2, .cr0 = 0x80000011, .cr3 = 0x1000, .cr4 = 0x20, .efer = 0xD00,
        .cs = { .selector = 8, .limit = 0xFFFFFFFF, .access = 0xA09B },
    };
    return view;
}

static void code_world_free(struct guest_ram *ram, struct view *view)
{
    free(ram->base);
    free(view);
}

static void expect_code(struct view *view, const struct guest_ram *ram, const char *text)
{
    char screen[VIEW_TEXT], *line, *end;

    view->status = 0;
    view_code(view, ram);
    view_screen(view, "why", screen);
    line = strstr(screen, "\ncode ");
    assert_non_null(line);
    end = strstr(line, "; last exits:\n");
    assert_non_null(end);
    *end = '\0';
    assert_string_equal(line + 6, text);
}

static void test_code(void **state)
{
    struct guest_ram ram;
    struct view *view = code_world(&ram, 0x201234);
    uint8_t *before = malloc(4 << 20);
    (void)state;

    memcpy(before, ram.base, 4 << 20);
    expect_code(view, &ram, "2e 2f 30 31 32 33 <34> 35 36 37 38 39 3a 3b 3c 3d");
    view->sregs.rip = 0x1FFFFF; // a large page's last
    expect_code(view, &ram, "f9 fa fb fc fd fe <ff> 00 01 02 03 04 05 06 07 08");
    assert_memory_equal(before, ram.base, 4 << 20); // accessed bits, too
    guest_put(&ram, 0x4000 + 8 * 2, 8, 0); // page 0x202000
    view->sregs.rip = 0x201FFE;
    expect_code(view, &ram, "f8 f9 fa fb fc fd <fe> ff ?? ?? ?? ?? ?? ?? ?? ??");
    view->sregs.rip = 0x202000;
    expect_code(view, &ram, "not mapped");
    view->sregs.rip = 0x203002;
    expect_code(view, &ram, "?? ?? ?? ?? 00 01 <02> 03 04 05 06 07 08 09 0a 0b");
    view->sregs.rip = 0x800000000000;
    expect_code(view, &ram, "not canonical");
    view->sregs.rip = 0x203010;
    guest_put(&ram, 0x4000 + 8 * 3, 8, 0x8000000000203003);
    expect_code(view, &ram, "not executable");
    guest_put(&ram, 0x4000 + 8 * 3, 8, 0xFED00003); // a device
    expect_code(view, &ram, "no RAM");
    guest_put(&ram, 0x4000 + 8 * 3, 8, 0x203007); // a user's, with SMEP on
    view->sregs.cr4 |= 1 << 20;
    expect_code(view, &ram, "0a 0b 0c 0d 0e 0f <10> 11 12 13 14 15 16 17 18 19");
    view->sregs.cr3 = 0xFFFFFFFFFFFFF000;
    expect_code(view, &ram, "not mapped: reserved bits, or tables outside of RAM");
    free(before);
    code_world_free(&ram, view);
}

// Without paging, with a base.
static void test_code_in_segment(void **state)
{
    struct guest_ram ram;
    struct view *view = code_world(&ram, 0x1234);
    (void)state;

    view->sregs.cr0 = 0x10;
    view->sregs.efer = 0;
    view->sregs.cs = (struct vm_segment){ .base = 0x90000, .selector = 0x9000, .limit = 0xFFFF,
                                          .access = 0x9B };
    ram.base[0x91234] = 0xEE;
    expect_code(view, &ram, "2e 2f 30 31 32 33 <ee> 35 36 37 38 39 3a 3b 3c 3d");
    ram.base[0x91233] = 0xF4;
    view_code(view, &ram);
    assert_int_equal(view_activity(view), VIEW_HALTED);
    view->sregs.rflags |= 0x200;
    assert_int_equal(view_activity(view), VIEW_HLT);
    ram.base[0x91233] = 0x90;
    view_code(view, &ram);
    assert_int_equal(view_activity(view), VIEW_RUNNING);
    view->sregs.rip = 0; // bytes before are at the top of 4 GB
    view->sregs.cs.base = 0;
    expect_code(view, &ram, "?? ?? ?? ?? ?? ?? <00> 01 02 03 04 05 06 07 08 09");
    code_world_free(&ram, view);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

// Whatever the registers and the tables are: nothing outside of RAM is read, and nothing written.
static void test_code_garbage(void **state)
{
    static const uint64_t cr0[] = { 0x11, 0x80000011, 0x80010033, 0 };
    struct guest_ram ram;
    struct view *view = code_world(&ram, 0);
    uint8_t *before = malloc(4 << 20);
    uint64_t seed = 0x9E3779B97F4A7C15;
    unsigned shown = 0;
    (void)state;

    for (unsigned i = 0; i < 0x8000; i += 8)
        guest_put(&ram, i, 8, next_random(&seed) & (i & 8 ? ~0ull : 0x8000000000FFFFFF));
    memcpy(before, ram.base, 4 << 20);
    for (unsigned i = 0; i < 200000; i++) {
        struct vcpu_sregs *s = &view->sregs;
        s->rip = next_random(&seed) >> (next_random(&seed) & 63);
        s->cr0 = cr0[next_random(&seed) & 3];
        s->cr3 = next_random(&seed) >> (next_random(&seed) & 63);
        s->cr4 = next_random(&seed) & 0x1010B0;
        s->efer = next_random(&seed) & 0xD00;
        s->cs.access = (uint16_t)next_random(&seed);
        s->cs.base = (uint32_t)next_random(&seed) >> (next_random(&seed) & 31);
        view_code(view, &ram);
        shown += view->no_code == NULL;
        assert_int_equal(view->no_code == NULL, view->code[VIEW_CODE_BEFORE] >= 0);
    }
    assert_memory_equal(before, ram.base, 4 << 20);
    assert_in_range(shown, 1000, 199000);
    free(before);
    code_world_free(&ram, view);
}

// A view in which everything has a value of its own.
static void view_fill(struct view *view)
{
    struct vcpu_sregs *s = &view->sregs;

    *view = (struct view){
        .tsc = NOW,
        .lapic = { true, 0x20, 0x1FF, 0x700, 0x200EC, 0x1234, 0xEC, -1 },
        .code = { 0xFA, -1, 0x0F, 0x01, 0x1E, 0x00, 0x0F, 0x0B, 0xF4, 0xEB, 0xFD, 0, 1, 2, 3, 4 },
    };
    for (unsigned i = 0; i < 16; i++)
        view->gpr[i] = 0x1111111111111111ull * i;
    *s = (struct vcpu_sregs){
        .rip = 0xFFFFFFFF81012345, .rflags = 0x10246, .rsp = 0xFFFFC90000013F58,
        .cr0 = 0x80050033, .cr2 = 0x7FFFDEADBEE0, .cr3 = 0x1000A000, .cr4 = 0x3606F0,
        .efer = 0xD01, .dr6 = 0xFFFF0FF0, .dr7 = 0x400,
        .cs = { .selector = 0x10, .limit = 0xFFFFFFFF, .access = 0xA09B },
        .ss = { .selector = 0x18, .limit = 0xFFFFFFFF, .access = 0xC093 },
        .ds = { .access = 0x100 }, .es = { .selector = 3, .access = 0x1C0 },
        .fs = { .base = 0x7F0012345678, .limit = 0xFFFFFFFF, .access = 0xC0F3 },
        .gs = { .base = 0xFFFF88803EC00000, .limit = 0xFFFFFFFF, .access = 0xC0F3 },
        .tr = { .selector = 0x40, .base = 0xFFFFFE0000003000, .limit = 0x4087, .access = 0x8B },
        .ldtr = { .access = 0x182 },
        .gdtr_base = 0xFFFFFE0000001000, .gdtr_limit = 0x7F,
        .idtr_base = 0xFFFFFE0000000000, .idtr_limit = 0xFFF,
    };
}

static void expect_screen(const struct view *view, const char *why, const char *expected)
{
    char text[VIEW_TEXT];
    unsigned lines = 0;
    size_t length = view_screen(view, why, text);

    assert_int_equal(length, strlen(text));
    assert_string_equal(text, expected);
    for (const char *at = text, *end; *at != '\0'; at = end + 1, lines++) {
        end = strchr(at, '\n');
        assert_non_null(end);
        assert_in_range(end - at, 1, VIEW_COLUMNS);
    }
    assert_in_range(lines, 2, VIEW_LINES);
}

#define REGISTERS                                                                                  \
    "vcpu 0: running, 64-bit code, cpl 0, rflags=00010246 PF ZF IF RF\n"                           \
    "rax=0000000000000000 rbx=3333333333333333 rcx=1111111111111111\n"                             \
    "rdx=2222222222222222 rsi=6666666666666666 rdi=7777777777777777\n"                             \
    "rbp=5555555555555555 rsp=ffffc90000013f58 r8 =8888888888888888\n"                             \
    "r9 =9999999999999999 r10=aaaaaaaaaaaaaaaa r11=bbbbbbbbbbbbbbbb\n"                             \
    "r12=cccccccccccccccc r13=dddddddddddddddd r14=eeeeeeeeeeeeeeee\n"                             \
    "r15=ffffffffffffffff rip=ffffffff81012345 cr3=000000001000a000\n"                             \
    "cs 0010 00000000 ffffffff a09b ss 0018 00000000 ffffffff c093 cr0=80050033\n"                 \
    "ds 0000 00000000 00000000 ---- es 0003 00000000 00000000 ---- cr4=003606f0\n"                 \
    "fs   0000 00007f0012345678 ffffffff c0f3 cr2=00007fffdeadbee0 efer=0d01\n"                    \
    "gs   0000 ffff88803ec00000 ffffffff c0f3 dr6=ffff0ff0 dr7=00000400\n"                         \
    "tr   0040 fffffe0000003000 00004087 008b gdtr=fffffe0000001000:007f\n"                        \
    "ldtr 0000 0000000000000000 00000000 ---- idtr=fffffe0000000000:0fff\n"

#define LAPIC "apic tpr=20 svr=1ff lint0=00700 lvtt=200ec tmcct=00001234 irr=ec isr=--\n"
#define CODE  "code fa ?? 0f 01 1e 00 <0f> 0b f4 eb fd 00 01 02 03 04; last exits:\n"

static void test_screen(void **state)
{
    struct view view;
    (void)state;

    view_fill(&view);
    expect_screen(&view, "triple fault: this is a reset",
                  "triple fault: this is a reset\n" REGISTERS LAPIC CODE "none yet\n");
    put(&view.exits, 1500000000, VM_EXIT_PIO, 0x3F80000, 0, 0);
    put(&view.exits, 12000, VM_EXIT_MMIO, VM_MMIO_WRITE, 0xFEE000B0, 0xFFFFFFFF81012345);
    put(&view.exits, 0, VM_EXIT_SHUTDOWN, 0, 0, 0);
    expect_screen(&view, "killed: no page",
                  "killed: no page\n" REGISTERS LAPIC CODE
                  "  1s outb 3f8                         12us write fee000b0 ffffffff81012345\n"
                  " 0us triple fault\n");
}

// The most that there can be: each line as long as it gets, and 24 of them.
static void test_full_screen(void **state)
{
    static const char why[] = "killed: nobody handles this exit: reason 80000021, "
                              "ffffffff81012345 80000b0e fffffffff000 7";
    static char expected[VIEW_TEXT] =
        "killed: nobody handles this exit: reason 80000021, ffffffff81012345\n"
        "  80000b0e fffffffff000 7\n" REGISTERS CODE;
    struct view view;
    (void)state;

    view_fill(&view);
    for (unsigned i = 0; i < EXIT_RING; i++)
        put(&view.exits, 12000, VM_EXIT_MMIO, VM_MMIO_WRITE, 0xFEE000B0, 0xFFFFFFFF81012345);
    for (unsigned i = 0; i < EXIT_RING / 2; i++)
        strcat(expected, "12us write fee000b0 ffffffff81012345  "
                         "12us write fee000b0 ffffffff81012345\n");
    expect_screen(&view, why, expected);
    view.lapic = (struct view_lapic){ true, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX,
                                      UINT32_MAX, 255, 255 };
    view.sregs.rflags = UINT64_MAX;
    view.sregs.efer = view.sregs.dr6 = view.sregs.dr7 = UINT64_MAX;
    view.sregs.gdtr_limit = view.sregs.idtr_limit = UINT32_MAX;
    view.id = 15;
    view.state = VIEW_WAITING;
    view.entry_flags = VM_ENTRY_FAULT;
    char text[VIEW_TEXT];
    assert_true(view_screen(&view, "x", text) < sizeof(text));
    memset(expected, 'x', 2 * VIEW_COLUMNS);
    expected[2 * VIEW_COLUMNS] = '\0';
    assert_true(view_screen(&view, expected, text) < sizeof(text));
}

static void test_modes(void **state)
{
    struct view view;
    char text[VIEW_TEXT];
    (void)state;

    view_fill(&view);
    view.lapic.seen = false;
    view.no_code = "not mapped";
    view.state = VIEW_HALTED;
    view.entry_flags = VM_ENTRY_INTR;
    view.intr = 0x31;
    view.sregs.cs.access = 0x9B; // compatibility mode
    view.sregs.ss.access = 0xF3;
    view.sregs.rflags = 0x3046;
    view_screen(&view, "x", text);
    // What there is no room for is not there at all.
    assert_non_null(strstr(text, "\nvcpu 0: HLT, interrupts off, 16-bit code, cpl 3, "
                                 "rflags=00003046 PF ZF\n"));
    assert_non_null(strstr(text, "\napic in x2APIC mode or off, where only the kernel sees it\n"
                                 "code not mapped; last exits:\n"));
    view.entry_flags = VM_ENTRY_FAULT;
    view.fault = 14;
    view.state = VIEW_HLT;
    view.sregs.cs.access = 0xC09B;
    view_screen(&view, "x", text);
    assert_non_null(strstr(text, "\nvcpu 0: HLT, 32-bit code, cpl 3, rflags=00003046 (gets "
                                 "fault 14) PF ZF\n"));
    view.entry_flags = 0;
    view.sregs.rflags |= 1 << 17;
    view_screen(&view, "x", text);
    assert_non_null(strstr(text, "\nvcpu 0: HLT, virtual-8086 mode, cpl 3, rflags=00023046 "));
    view.sregs.cr0 = 0x10;
    view_screen(&view, "x", text);
    assert_non_null(strstr(text, "\nvcpu 0: HLT, real mode, cpl 3, rflags=00023046 "));
    view.status = ERR_STATE;
    expect_screen(&view, "killed: vcpu_run was refused: status -10",
                  "killed: vcpu_run was refused: status -10\n"
                  "vcpu 0: its registers cannot be read: status -10\nnone yet\n");
}

static void test_line(void **state)
{
    struct view view;
    char text[VIEW_COLUMNS + 2];
    (void)state;

    view_fill(&view);
    view.id = 15;
    view.state = VIEW_WAITING;
    const size_t length = view_line(&view, text);
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "vcpu 15: 0010:ffffffff81012345 cr3=000000001000a000 waits for "
                              "start-up IPI\n");
    assert_in_range(strlen(text) - 1, 1, VIEW_COLUMNS);
    view.status = ERR_DEAD;
    view_line(&view, text);
    assert_string_equal(text, "vcpu 15: its registers cannot be read: status -11\n");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ring), TEST(test_words), TEST(test_ages), TEST(test_tell), TEST(test_code),
        TEST(test_code_in_segment), TEST(test_code_garbage), TEST(test_screen),
        TEST(test_full_screen), TEST(test_modes), TEST(test_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
