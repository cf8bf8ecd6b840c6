// SPDX-License-Identifier: BSD-2-Clause
//
// Exits of a CPU that says less: no length and no register of an instruction, no linear address of
// an operand, no segment of a string's. What it leaves out is filled with numbers that lead astray.
#include "exit_world.h"

#define CODE   0x1000ull
#define ASTRAY 0xBADBADBADBAD0BADull
#define END    (16ull << 20) // of RAM

static void put_code(uint64_t rip, const char *code, unsigned length)
{
    ram_write(&world->vmm.ram, rip, code, length);
    world->page.exit.rip = rip;
}

// A CPU without paging, in code of this size.
static void facts(uint8_t code_size)
{
    world->page.exit.rflags = 2;
    world->page.exit.rsp = 0x80000;
    world->page.exit.cpu = (struct vm_exit_cpu){ .code_size = code_size };
}

// As QEMU's emulation of such a CPU: `access` may leave out a write.
#define MMIO(code, gpa, access) mmio(code, sizeof(code) - 1, gpa, access)
static void mmio(const char *code, unsigned length, uint64_t gpa, uint64_t access)
{
    world->page.exit = (struct vm_exit){ .mmio = { .gpa = gpa, .gva = ASTRAY } };
    facts(8);
    put_code(CODE, code, length);
    world->kind = VM_EXIT_MMIO;
    world->word = access | VM_MMIO_GVA | VM_MMIO_OPERAND | VM_MMIO_FIND;
}

static void decode(const char *code, unsigned length, uint8_t code_size)
{
    world->page.exit = (struct vm_exit){ .mmio = { .gpa = ASTRAY, .gva = ASTRAY } };
    facts(code_size);
    put_code(CODE, code, length);
    world->kind = VM_EXIT_DECODE;
    memset(&world->page.entry, 0xFF, sizeof(world->page.entry));
}

static void test_decode(void **state)
{
    static const struct {
        char code[8];
        uint8_t length, code_size, reg;
    } cases[] = {
        { "\x0F\xA2", 2, 8, 0 },               // cpuid
        { "\x0F\x22\xC3", 3, 8, GPR_RBX },     // mov cr0, rbx
        { "\x41\x0F\x20\xDE", 4, 8, GPR_R14 }, // mov r14, cr3
        { "\x0F\x01\xF6", 3, 2, GPR_RSI },     // lmsw si
        { "\xF4", 1, 4, 0 },                   // hlt
        { "\x66\x66\x0F\x30", 4, 4, 0 },       // wrmsr
        { "\x48\x8B\x06", 3, 8, 0 },           // mov rax, [rsi]: any instruction has a length
    };
    (void)state;
    for (unsigned round = 0; round < 2; round++) { // the second time from the cache
        for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            decode(cases[i].code, cases[i].length, cases[i].code_size);
            expect_entry(VM_ENTRY_DECODED);
            assert_int_equal(world->page.entry.decoded.length, cases[i].length);
            assert_int_equal(world->page.entry.decoded.reg, cases[i].reg);
        }
    }
    assert_int_equal(world->sregs_reads, 0);
}

// Only the linear address has the segment's base in it.
static void test_decode_in_real_mode(void **state)
{
    (void)state;
    decode("\x90", 1, 2);
    put_code(0xF0000 + 0xFFF0, "\x0F\xA2", 2);
    world->page.exit.rip = 0xFFF0;
    world->page.exit.cpu.cs_base = 0xF0000;
    expect_entry(VM_ENTRY_DECODED);
    assert_int_equal(world->page.entry.decoded.length, 2);
}

// 0x400000 to 0x401FFF are mapped, to themselves; the tables lie at `tables`.
static void four_levels(uint64_t tables, uint8_t cpl)
{
    world->page.exit.cpu = (struct vm_exit_cpu){ .cr0 = 0x80010001, .cr3 = tables, .cr4 = 0x20,
                                                 .efer = 0xD00, .code_size = 8, .cpl = cpl };
    if (tables + 0x4000 > END)
        return;
    for (unsigned i = 0; i < 2; i++)
        guest_put(&world->vmm.ram, tables + i * 0x1000, 8, tables + (i + 1) * 0x1000 + 7);
    guest_put(&world->vmm.ram, tables + 0x2010, 8, tables + 0x3007);
    guest_put(&world->vmm.ram, tables + 0x3000, 8, 0x400007);
    guest_put(&world->vmm.ram, tables + 0x3008, 8, 0x401007);
}

static void expect_page_fault(uint64_t address, uint32_t error)
{
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_PF);
    assert_true(world->page.entry.fault.has_error);
    assert_int_equal(world->page.entry.fault.error, error);
    assert_int_equal(world->page.entry.fault.address, address);
}

// The guest has changed its tables or its code between the instruction and the VMM's look at it.
static void test_decode_what_is_gone(void **state)
{
    (void)state;
    decode("\x90", 1, 8);
    four_levels(0x200000, 3);
    put_code(0x401FFE, "\x0F\xA2", 2); // the next page is not needed, so it may be absent
    expect_entry(VM_ENTRY_DECODED);
    put_code(0x401FFF, "\x0F", 1);
    expect_page_fault(0x402000, 0x14);
    world->page.exit.rip = 0x600000;
    expect_page_fault(0x600000, 0x14);
    put_code(0x401000, "\xF0\x0F\xA2", 3); // lock cpuid
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_UD);
    assert_false(world->page.entry.fault.has_error);
}

static void test_mmio_of_one_page(void **state)
{
    (void)state;
    world->page.gpr[GPR_RSI] = ASTRAY; // the CPU knows the physical address
    world->page.gpr[GPR_RCX] = 0xAABBCCDD;
    MMIO("\x89\x0E", BENCH_MMIO_BASE + 4, VM_MMIO_WRITE); // mov [rsi], ecx
    expect_entry(SKIPS);
    MMIO("\x8B\x06", BENCH_MMIO_BASE + 4, VM_MMIO_READ); // mov eax, [rsi]
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xAABBCCDD);
    // What reads and writes is called a read.
    MMIO("\xFF\x06", BENCH_MMIO_BASE + 4, VM_MMIO_READ); // inc dword [rsi]
    expect_entry(SKIPS | VM_ENTRY_RFLAGS);
    assert_int_equal(world->vmm.machine.testdev.bench_mmio.value, 0xAABBCCDE);
    MMIO("\x87\x0E", BENCH_MMIO_BASE + 4, VM_MMIO_READ); // xchg [rsi], ecx
    expect_entry(SKIPS);
    assert_int_equal(world->vmm.machine.testdev.bench_mmio.value, 0xAABBCCDD);
    assert_int_equal(world->page.gpr[GPR_RCX], 0xAABBCCDE);
    MMIO("\xFF\x06", 0xFEE00080, VM_MMIO_READ); // of the local APIC
    expect_entry(VM_ENTRY_LAPIC);
    world->kind = VM_EXIT_LAPIC_READ;
    world->page.exit.lapic.value = 0x1F;
    expect_entry(VM_ENTRY_LAPIC | SKIPS | VM_ENTRY_RFLAGS);
    assert_int_equal(world->page.entry.lapic.write, 1);
    assert_int_equal(world->page.entry.lapic.value, 0x20);
    assert_int_equal(world->sregs_reads, 0);
}

// An access that has parts in two pages is reported in either.
static void test_mmio_at_the_edge_of_a_page(void **state)
{
    uint64_t *gpr = world->page.gpr;
    (void)state;

    guest_put(&world->vmm.ram, END - 4, 4, 0x11223344);
    gpr[GPR_RSI] = END - 3;
    MMIO("\x48\x8B\x06", END, VM_MMIO_READ); // mov rax, [rsi]: the second page is none
    expect_entry(SKIPS);
    assert_int_equal(gpr[GPR_RAX], 0xFFFFFFFFFF112233);
    gpr[GPR_RCX] = 0x99887766AABBCCDD;
    gpr[GPR_RSI] = END - 12;
    gpr[GPR_RBX] = 2;
    MMIO("\x48\x89\x4C\x9E\x01", END, VM_MMIO_WRITE); // mov [rsi + rbx * 4 + 1], rcx
    expect_entry(SKIPS);
    assert_int_equal(guest_get(&world->vmm.ram, END - 4, 4), 0xBBCCDD44);
    gpr[GPR_RSI] = END; // begins where the page does
    MMIO("\x48\x8B\x46\x00", END, VM_MMIO_READ);
    expect_entry(SKIPS);
    assert_int_equal(gpr[GPR_RAX], ~0ull);
    gpr[GPR_RSI] = RAM_TABLES - 3; // the first page is none
    guest_put(&world->vmm.ram, RAM_TABLES, 4, 0x55667788);
    MMIO("\x8B\x06", RAM_TABLES - 3, VM_MMIO_READ);
    expect_entry(SKIPS);
    assert_int_equal(gpr[GPR_RAX], 0x88FFFFFF);
    assert_int_equal(world->sregs_reads, 0);
    gpr[GPR_RSI] = 0x1000;
    world->page.sregs.fs.base = END - 0x1004;
    MMIO("\x64\x48\x8B\x06", END, VM_MMIO_READ); // mov rax, fs:[rsi]
    expect_entry(SKIPS);
    assert_int_equal(world->sregs_reads, 1);
    assert_int_equal(gpr[GPR_RAX], 0xFFFFFFFFBBCCDD44);
}

// Two operands in memory, and the exit names neither.
static void test_mmio_of_two_operands(void **state)
{
    uint64_t *gpr = world->page.gpr;
    (void)state;

    world->vmm.machine.testdev.bench_mmio.value = 0x01020304;
    gpr[GPR_RSI] = BENCH_MMIO_BASE + 8;
    gpr[GPR_RDI] = 0x5000;
    gpr[GPR_RCX] = 2;
    MMIO("\xF3\xA5", BENCH_MMIO_BASE + 8, VM_MMIO_READ); // rep movsd, from there
    expect_entry(SKIPS);
    assert_int_equal(guest_get(&world->vmm.ram, 0x5000, 8), 0x0102030401020304);
    guest_put(&world->vmm.ram, 0x5000, 4, 0xCAFE);
    gpr[GPR_RSI] = 0x5000;
    gpr[GPR_RDI] = BENCH_MMIO_BASE + 8;
    MMIO("\xA5", BENCH_MMIO_BASE + 8, VM_MMIO_READ); // and to there
    expect_entry(SKIPS);
    assert_int_equal(world->vmm.machine.testdev.bench_mmio.value, 0xCAFE);
    gpr[GPR_RSI] = BENCH_MMIO_BASE + 0x10;
    guest_put(&world->vmm.ram, 0x80000 - 2, 2, 0);
    MMIO("\x66\xFF\x36", BENCH_MMIO_BASE + 0x10, VM_MMIO_READ); // push word [rsi]
    expect_entry(SKIPS | VM_ENTRY_RSP);
    assert_int_equal(guest_get(&world->vmm.ram, 0x80000 - 2, 2), 0xCAFE);
    assert_int_equal(world->page.entry.rsp, 0x80000 - 2);
    guest_put(&world->vmm.ram, 0x80000, 2, 0xBEEF);
    MMIO("\x66\x8F\x06", BENCH_MMIO_BASE + 0x10, VM_MMIO_READ); // pop word [rsi]
    expect_entry(SKIPS | VM_ENTRY_RSP);
    assert_int_equal(world->vmm.machine.testdev.bench_mmio.value, 0xBEEF);
    // The stack is in the device, the operand is not.
    guest_put(&world->vmm.ram, 0x5000, 2, 0x1234);
    gpr[GPR_RSI] = 0x5000;
    MMIO("\x66\xFF\x36", BENCH_MMIO_BASE + 0x10, VM_MMIO_WRITE);
    world->page.exit.rsp = BENCH_MMIO_BASE + 0x12;
    expect_entry(SKIPS | VM_ENTRY_RSP);
    assert_int_equal(world->vmm.machine.testdev.bench_mmio.value, 0x1234);
}

// The guest's page tables lie where no memory is; what the CPU did there is called a write.
static void hole(const char *code, unsigned length, uint64_t entry)
{
    mmio(code, length, 0xD0000000 + entry, VM_MMIO_WRITE);
    four_levels(0x200000, 0);
    guest_put(&world->vmm.ram, 0x201008, 8, 0xD0000007); // for 0x40000000 to 0x7FFFFFFF
    put_code(0x401000, code, length);
    world->word &= ~(uint64_t)VM_MMIO_OPERAND;
}

static void test_page_tables_in_a_hole(void **state)
{
    uint64_t *gpr = world->page.gpr;
    (void)state;

    gpr[GPR_RSI] = 0x40001238;
    hole("\x8B\x06", 2, 8); // mov eax, [rsi]
    expect_page_fault(0x40001238, 9);
    hole("\x0F\x28\x46\x08", 4, 8); // addps xmm0, [rsi + 8]: not one for devices
    expect_page_fault(0x40001240, 9);
    gpr[GPR_RDI] = 0x400000;
    hole("\xA4", 1, 8); // movsb
    expect_page_fault(0x40001238, 9);
    gpr[GPR_RSI] = 0x400000;
    gpr[GPR_RDI] = 0x40005678;
    hole("\xA4", 1, 0x28);
    expect_page_fault(0x40005678, 9);
    hole("\x50", 1, 0); // push rax
    world->page.exit.rsp = 0x40002000;
    expect_page_fault(0x40002000, 9);
    hole("\x50", 1, 0);
    world->page.exit.rsp = 0x80000000; // where it does not go
    expect_page_fault(0x7FFFFFF8, 9);
    hole("\xFF\x36", 2, 0); // push qword [rsi]
    world->page.exit.rsp = 0x40002008;
    expect_page_fault(0x40002008, 9);
    hole("\x64\x8B\x06", 3, 0); // mov eax, fs:[rsi]
    world->page.sregs.fs.base = 0x41000000;
    expect_page_fault(0x41400000, 9);
    // The instruction's own bytes; of the second page, too.
    hole("\x90", 1, 0);
    world->page.exit.rip = 0x40000123;
    world->page.exit.cpu.cpl = 3;
    expect_page_fault(0x40000123, 0x1D);
    hole("\x90", 1, 0);
    four_levels(0xD0000000, 0);
    world->page.exit.rip = 0x402345;
    expect_page_fault(0x402345, 0x19);
    hole("\x90", 1, 0);
    guest_put(&world->vmm.ram, 0x202018, 8, 0xD0000007); // for 0x600000
    guest_put(&world->vmm.ram, 0x203FF8, 8, 0x401007);   // 0x5FF000
    put_code(0x401FFF, "\x0F", 1);
    world->page.exit.rip = 0x5FFFFF;
    expect_page_fault(0x600000, 0x19);
    // Delivery of an event, whose address nobody can know: still a fault, not a loop.
    hole("\x90", 1, 0);
    world->page.exit.rsp = 0x400800;
    world->page.exit.cpu.cpl = 3;
    expect_page_fault(0x400800, 0xD);
}

static void string_port(const char *code, unsigned length, uint64_t word, uint8_t code_size)
{
    world->page.exit = (struct vm_exit){
        .pio = { .addr_size = code_size, .segment = VM_PIO_SEGMENT_UNKNOWN, .gva = ASTRAY },
    };
    facts(code_size);
    put_code(CODE, code, length);
    world->kind = VM_EXIT_PIO;
    world->word = word | VM_PIO_STRING;
}

static void test_string_segments(void **state)
{
    static const struct vm_segment flat = { .limit = 0xFFFFFFFF, .access = 0xC093 };
    struct vcpu_sregs *s = &world->page.sregs;
    uint64_t *gpr = world->page.gpr;
    char text[8] = { 0 };
    (void)state;

    s->ds = s->es = s->ss = s->fs = flat;
    s->ds.base = 0x10000;
    s->es.base = 0x20000;
    s->ss.base = 0x30000;
    s->fs.base = 0x40000;
    ram_write(&world->vmm.ram, 0x10100, "d", 1);
    ram_write(&world->vmm.ram, 0x20100, "e", 1);
    ram_write(&world->vmm.ram, 0x30100, "s", 1);
    ram_write(&world->vmm.ram, 0x40100, "f", 1);
    ram_write(&world->vmm.ram, 0x100, "0", 1);
    gpr[GPR_RSI] = 0x100;
    string_port("\x6E", 1, PORT_WORD(0xE9, 1, 0), 4);
    expect_entry(SKIPS);
    gpr[GPR_RSI] = 0x100;
    string_port("\x26\x6E", 2, PORT_WORD(0xE9, 1, 0), 4);
    expect_entry(SKIPS);
    gpr[GPR_RSI] = 0x100;
    string_port("\x36\x6E", 2, PORT_WORD(0xE9, 1, 0), 2);
    expect_entry(SKIPS);
    gpr[GPR_RSI] = 0x100;
    string_port("\x64\x6E", 2, PORT_WORD(0xE9, 1, 0), 8); // counts in 64-bit mode
    expect_entry(SKIPS);
    assert_int_equal(world->sregs_reads, 4);
    gpr[GPR_RSI] = 0x100;
    string_port("\x36\x6E", 2, PORT_WORD(0xE9, 1, 0), 8); // does not
    expect_entry(SKIPS);
    assert_int_equal(world->sregs_reads, 4);
    assert_int_equal(line_read(&world->console, text, sizeof(text)), 5);
    assert_string_equal(text, "desf0");
    // INS: always ES. Its address size, if the CPU has not said that either.
    gpr[GPR_RDI] = 0xABCD0200;
    string_port("\x64\x67\x6D", 3, PORT_WORD(0x5000, 4, VM_PIO_IN), 4);
    world->page.exit.pio.addr_size = 0;
    expect_entry(SKIPS);
    assert_int_equal(guest_get(&world->vmm.ram, 0x20200, 8), 0xFFFFFFFF);
    assert_int_equal(gpr[GPR_RDI], 0xABCD0204);
    string_port("\x90", 1, PORT_WORD(0x5000, 4, VM_PIO_IN), 2); // no need to look at the code
    expect_entry(SKIPS);
    assert_int_equal(guest_get(&world->vmm.ram, 0x20204, 8), 0xFFFFFFFF);
}

static void test_string_that_faults(void **state)
{
    uint64_t *gpr = world->page.gpr;
    (void)state;

    gpr[GPR_RSI] = 0x402000;
    string_port("\x6E", 1, PORT_WORD(0xE9, 1, 0), 8);
    four_levels(0x200000, 3);
    expect_page_fault(CODE, 0x14); // the code is not there any more
    put_code(0x401000, "\x6E", 1);
    world->page.exit.pio.segment = VM_PIO_SEGMENT_UNKNOWN;
    expect_page_fault(0x402000, 4);
    string_port("\x36\x6E", 2, PORT_WORD(0xE9, 1, 0), 4);
    world->page.sregs.ss = (struct vm_segment){ .access = 0x93, .limit = 0xFFF };
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_SS);
}

// A blocked exit is handled again from where it stopped, with what was found before.
static void test_string_into_a_full_console(void **state)
{
    static uint8_t filler[CONSOLE_OUTPUT_SIZE];
    char text[8] = { 0 };
    (void)state;

    world->page.sregs.gs = (struct vm_segment){ .base = 0x2000 };
    ram_write(&world->vmm.ram, 0x2100, "hello", 5);
    line_write(&world->vmm.host.line, filler, sizeof(filler) - 2);
    world->page.gpr[GPR_RSI] = 0x100;
    world->page.gpr[GPR_RCX] = 5;
    string_port("\x65\xF3\x6E", 3, PORT_WORD(0x3F8, 1, VM_PIO_REP), 8);
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_WAIT);
    assert_int_equal(world->page.gpr[GPR_RCX], 3);
    drain_console();
    expect_entry(SKIPS);
    assert_int_equal(line_read(&world->console, text, sizeof(text)), 3);
    assert_string_equal(text, "llo");
    assert_int_equal(world->page.gpr[GPR_RSI], 0x105);
}

// The record of a VM's end names the instruction, also when it came from the cache.
static void test_message_of_an_instruction(void **state)
{
    const struct insn_code *code = &world->vmm.insns.code;
    (void)state;

    decode("\x90", 1, 8);
    four_levels(0x200000, 0);
    for (unsigned i = 0; i < 2; i++) {
        put_code(0x401000, "\x0F\x58\x06", 3); // addps xmm0, [rsi]
        expect_entry(VM_ENTRY_DECODED);
        assert_int_equal(world->page.entry.decoded.length, 3);
        put_code(0x401040, "\xF4", 1);
        expect_entry(VM_ENTRY_DECODED);
        assert_int_equal(world->page.entry.decoded.length, 1);
    }
    MMIO("\x0F\x58\x06", 0xD0000000, VM_MMIO_READ);
    four_levels(0x200000, 0);
    world->page.exit.rip = 0x401000;
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(code->low & 0xFFFFFF, 0x06580F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_decode),                      TEST(test_decode_in_real_mode),
        TEST(test_decode_what_is_gone),         TEST(test_mmio_of_one_page),
        TEST(test_mmio_at_the_edge_of_a_page),  TEST(test_mmio_of_two_operands),
        TEST(test_page_tables_in_a_hole),       TEST(test_string_segments),
        TEST(test_string_that_faults),          TEST(test_string_into_a_full_console),
        TEST(test_message_of_an_instruction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
