// SPDX-License-Identifier: BSD-2-Clause
//
// The run loop: port I/O with its string forms, interrupts, how a VM ends, and a console that is
// full.
#include "exit_world.h"

static void port(uint16_t number, uint8_t size, bool in, uint32_t data)
{
    world->kind = VM_EXIT_PIO;
    world->word = PORT_WORD(number, size, in ? VM_PIO_IN : 0);
    if (!in)
        world->page.gpr[GPR_RAX] = 0xABABABABABABABABull << 8 * size | data;
}

static void test_port_in_and_out(void **state)
{
    (void)state;
    port(0xB0F, 1, false, 0xA5);
    expect_entry(SKIPS);
    assert_int_equal(world->skipped, 2);
    world->page.gpr[GPR_RAX] = 0x1122334455667788;
    port(0xB0F, 1, true, 0);
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x11223344556677A5);
    port(0x5000, 2, true, 0);
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x112233445566FFFF);
    port(0x5000, 4, true, 0);
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xFFFFFFFF);
}

static void test_msrs(void **state)
{
    uint64_t *gpr = world->page.gpr;
    (void)state;

    msrs_init(&world->vmm.vcpu[0].msrs, 2400000000, true, 39, false);
    world->kind = VM_EXIT_RDMSR;
    gpr[GPR_RCX] = 0xFFFFFFFF000000CE; // the upper half does not count
    gpr[GPR_RAX] = gpr[GPR_RDX] = UINT64_MAX;
    expect_entry(SKIPS);
    assert_int_equal(gpr[GPR_RAX], 24 << 8);
    assert_int_equal(gpr[GPR_RDX], 0);
    gpr[GPR_RCX] = 0x8B;
    expect_entry(SKIPS);
    assert_int_equal(gpr[GPR_RDX], 1);
    world->kind = VM_EXIT_WRMSR;
    gpr[GPR_RCX] = 0x201;
    gpr[GPR_RAX] = 0xFFFFFFFFC0000800;
    gpr[GPR_RDX] = 0xFFFFFFFF0000007F;
    expect_entry(SKIPS);
    assert_int_equal(world->vmm.vcpu[0].msrs.mtrr_variable[1], 0x7FC0000800);
    gpr[GPR_RCX] = 0x345; // PERF_CAPABILITIES
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, 13);
    assert_true(world->page.entry.fault.has_error);
    assert_int_equal(world->page.entry.fault.error, 0);
    world->kind = VM_EXIT_RDMSR;
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(gpr[GPR_RAX], 0xFFFFFFFFC0000800);
}

static void string_port(bool in, bool rep, uint16_t number, uint8_t size, uint64_t gva,
                        uint64_t count)
{
    port(number, size, in, 0);
    world->word |= VM_PIO_STRING | (rep ? VM_PIO_REP : 0);
    world->page.exit.pio = (struct vm_exit_pio){
        .addr_size = 4, .gva = gva, .segment = in ? SEGMENT_ES : SEGMENT_DS,
    };
    world->page.exit.cpu = (struct vm_exit_cpu){ .code_size = 4 };
    world->page.sregs.ds = world->page.sregs.es = (struct vm_segment){
        .limit = 0xFFFFFFFF, .access = 0xC093,
    };
    world->page.gpr[in ? GPR_RDI : GPR_RSI] = gva;
    world->page.gpr[GPR_RCX] = count;
}

static void test_string_out(void **state)
{
    char text[8] = { 0 };
    (void)state;

    ram_write(&world->vmm.ram, 0x2000, "hello", 5);
    string_port(false, true, 0xE9, 1, 0x2000, 5);
    expect_entry(SKIPS);
    assert_int_equal(line_read(&world->console, text, sizeof(text)), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(world->page.gpr[GPR_RCX], 0);
    assert_int_equal(world->page.gpr[GPR_RSI], 0x2005);
    string_port(false, true, 0xE9, 1, 0x2000, 0); // no repetition at all
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RSI], 0x2000);
}

static void test_string_in_chunks(void **state)
{
    (void)state;
    string_port(true, true, 0x5000, 2, 0x3000, 1000);
    expect_entry(0); // interrupts first, the rest after
    assert_int_equal(world->page.gpr[GPR_RCX], 1000 - STRING_CHUNK);
    assert_int_equal(world->page.gpr[GPR_RDI], 0x3000 + 2 * STRING_CHUNK);
    string_port(true, false, 0x5000, 4, 0x7000, 77);
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RCX], 77);
    assert_int_equal(guest_get(&world->vmm.ram, 0x7000, 8), 0xFFFFFFFF);
}

static void test_string_fault(void **state)
{
    struct vm_exit_cpu paged = { .cr0 = 0x80000001, .cr3 = 0x200000, .code_size = 4, .cpl = 3 };
    (void)state;

    guest_put(&world->vmm.ram, 0x200000, 4, 0x201007);
    guest_put(&world->vmm.ram, 0x201008, 4, 0x5007); // 0x2000
    string_port(true, true, 0x5000, 1, 0x2FFE, 5);
    world->page.exit.cpu = paged;
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.gpr[GPR_RCX], 3); // two bytes have gone
    assert_int_equal(world->page.gpr[GPR_RDI], 0x3000);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_PF);
    assert_int_equal(world->page.entry.fault.error, 6);
    assert_int_equal(world->page.entry.fault.address, 0x3000);
    assert_int_equal(guest_get(&world->vmm.ram, 0x5FFE, 2), 0xFFFF);
}

// What the CPU has not looked at: the segment's type and its limit.
static void test_string_segments(void **state)
{
    static const struct {
        uint16_t access;
        uint32_t limit, offset;
        bool in, out; // which are allowed, with two bytes
    } cases[] = {
        { 0x0093, 0x2001, 0x2000, true, true },   { 0x0093, 0x2000, 0x2000, false, false },
        { 0x0091, 0xFFFF, 0x2000, false, true },  // read-only
        { 0x009B, 0xFFFF, 0x2000, false, true },  // code
        { 0x0099, 0xFFFF, 0x2000, false, false }, // code that may not be read
        { 0x0193, 0xFFFF, 0x2000, false, false }, // null
        { 0x0097, 0x2000, 0x2001, true, true },   // expand-down
        { 0x0097, 0x2000, 0x2000, false, false }, { 0x0097, 0x2000, 0xFFFE, true, true },
        { 0x0097, 0x2000, 0xFFFF, false, false }, { 0x4097, 0x2000, 0xFFFF, true, true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned in = 0; in < 2; in++) {
            bool allowed = in ? cases[i].in : cases[i].out;
            struct vm_segment segment = { .access = cases[i].access, .limit = cases[i].limit };
            string_port(in, false, 0x5000, 2, cases[i].offset, 1);
            world->page.sregs.ds = world->page.sregs.es = segment;
            expect_entry(allowed ? SKIPS : VM_ENTRY_FAULT);
            if (!allowed)
                assert_int_equal(world->page.entry.fault.vector, VECTOR_GP);
            string_port(in, false, 0x5000, 2, cases[i].offset, 1);
            world->page.sregs.ds = world->page.sregs.es = segment;
            world->page.exit.cpu.code_size = 8; // no such checks
            expect_entry(SKIPS);
        }
    }
    string_port(false, true, 0x5000, 2, 0x2000, 4);
    world->page.exit.pio.segment = SEGMENT_SS;
    world->page.sregs.ss = (struct vm_segment){ .access = 0x93, .limit = 0x2005 };
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_SS);
    assert_int_equal(world->page.entry.fault.error, 0);
    assert_int_equal(world->page.gpr[GPR_RCX], 1); // three have gone
    assert_int_equal(world->page.gpr[GPR_RSI], 0x2006);
}

static void test_interrupt_exits(void **state)
{
    struct vm_exit *exit = &world->page.exit;
    (void)state;

    world->kind = VM_EXIT_INTR_ACK;
    expect_entry(VM_ENTRY_INTR);
    assert_int_equal(world->page.entry.intr_vector, 0x0F); // nothing there: spurious
    world->kind = VM_EXIT_EOI;
    exit->eoi.vector = 0x39;
    expect_entry(0);
    world->kind = VM_EXIT_EVENT;
    exit->event.bits = VMM_BIT_TIMER | VMM_BIT_CONSOLE | VMM_BIT_STOP;
    expect_entry(0);
    assert_int_equal(world->vmm.machine.pm.status & 0x100, 0x100); // the power button
}

static void test_deaths(void **state)
{
    (void)state;
    world->kind = VM_EXIT_KILLED;
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_KILL);
    world->kind = 99;
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_KILL);
    world->script[0] = (struct exit){ .kind = VM_EXIT_KILLED };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_KILLED);
}

// What resets a PC is no failure of the VM.
static void test_resets(void **state)
{
    static const uint32_t kinds[] = { VM_EXIT_SHUTDOWN, VM_EXIT_INIT };
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        world->vmm.machine.power_pending = false;
        world->script[0] = (struct exit){ .kind = kinds[i] };
        world->script_length = 1;
        world->script_at = 0;
        assert_int_equal(vmm_run(&world->vmm), VMM_END_RESET);
    }
}

// With interrupts off: that is the end, unless a pin of the IOAPIC can send an NMI.
static void test_halted_for_good(void **state)
{
    struct bus *bus = &world->vmm.machine.bus;
    (void)state;
    world->kind = VM_EXIT_HALTED;
    expect_entry(0);
    assert_int_equal(world->halt_signals, 1);
    assert_int_equal(bus_mmio_write(bus, IOAPIC_BASE, 4, 0x10 + 2 * GSI_PIT), BUS_OK);
    assert_int_equal(bus_mmio_write(bus, IOAPIC_BASE + 0x10, 4, 0x400), BUS_OK);
    expect_entry(0);
    assert_int_equal(world->halt_signals, 1);
    assert_int_equal(bus_mmio_write(bus, IOAPIC_BASE + 0x10, 4, 0x10400), BUS_OK); // masked
    expect_entry(0);
    assert_int_equal(world->halt_signals, 2);
}

// Of another processor than the first: it waits, as after a reset, until it is told where to begin.
static void test_init_and_sipi(void **state)
{
    const struct vcpu_sregs *s = &world->page.sregs;
    (void)state;
    world->vmm.vcpus = 2;
    world->vmm.vcpu[0].id = 1;
    memset(world->page.gpr, 0xAA, sizeof(world->page.gpr));
    world->page.sregs.cr0 = 0xC0050033; // CD, and NW not
    world->kind = VM_EXIT_INIT;
    expect_entry(0);
    assert_int_equal(world->vmm.halted, 1u << 1);
    assert_false(world->vmm.machine.power_pending);
    assert_int_equal(s->cs.base + s->rip, 0xFFFFFFF0);
    assert_int_equal(s->rflags, 2);
    assert_int_equal(s->cr0, 0x40000010);
    assert_int_equal(world->sregs_reads, 1);
    assert_int_equal(s->efer | s->cr3 | s->cr4, 0);
    assert_int_equal(s->idtr_limit, 0xFFFF);
    assert_int_equal(world->page.gpr[GPR_RAX], 0);
    world->kind = VM_EXIT_SIPI;
    world->page.exit.sipi.vector = 0x9A;
    expect_entry(0);
    assert_int_equal(s->cs.selector, 0x9A00);
    assert_int_equal(s->cs.base, 0x9A000);
    assert_int_equal(s->rip, 0);
    assert_int_equal(world->sregs_writes, 2);
    assert_int_equal(world->halt_signals, 0);
}

static void test_run_until_power_off(void **state)
{
    (void)state;
    world->script[0] = (struct exit){ .kind = VM_EXIT_EVENT };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
    assert_int_equal(world->runs, 2);
    world->vmm.machine.power_pending = false;
    world->page.gpr[GPR_RAX] = 6;
    world->script[0] = (struct exit){ .kind = VM_EXIT_PIO, .word = PORT_WORD(0xCF9, 1, 0) };
    world->script_at = 0;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_RESET);
}

static void run_to(int end)
{
    world->vmm.machine.power_pending = false;
    world->script[0] = (struct exit){ .kind = world->kind, .word = world->word,
                                      .exit = world->page.exit };
    world->script_length = 1;
    world->script_at = 0;
    assert_int_equal(vmm_run(&world->vmm), end);
}

// By the test board: with a status, or by a word that is written as one string.
static void test_run_until_exit(void **state)
{
    (void)state;
    port(0xF4, 1, false, 0x10);
    run_to(VMM_END_EXIT + 0x21);
    ram_write(&world->vmm.ram, 0x2000, "Shutdown", 8);
    string_port(false, true, 0x8900, 1, 0x2000, 8);
    run_to(VMM_END_POWEROFF);
    assert_int_equal(world->page.gpr[GPR_RCX], 0);
}

// No byte may get lost: with the ring full the same access is done again once there is room.
static void test_full_console(void **state)
{
    static uint8_t filler[CONSOLE_OUTPUT_SIZE];
    uint8_t byte = 0;
    (void)state;

    assert_int_equal(line_write(&world->vmm.host.line, filler, sizeof(filler)), sizeof(filler));
    port(0x3F8, 1, false, 'x');
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_WAIT);
    assert_int_equal(world->page.entry.flags, 0);
    world->script[0] = (struct exit){ .kind = world->kind, .word = world->word };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
    assert_int_equal(world->waits, 1);
    assert_int_equal(line_read(&world->console, &byte, 1), 1);
    assert_int_equal(byte, 'x');
}

static void test_full_console_in_a_string(void **state)
{
    static uint8_t filler[CONSOLE_OUTPUT_SIZE];
    char text[8] = { 0 };
    (void)state;

    line_write(&world->vmm.host.line, filler, sizeof(filler) - 2);
    ram_write(&world->vmm.ram, 0x2000, "hello", 5);
    string_port(false, true, 0x3F8, 1, 0x2000, 5);
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_WAIT);
    assert_int_equal(world->page.gpr[GPR_RCX], 3);
    assert_int_equal(world->page.gpr[GPR_RSI], 0x2002);
    drain_console();
    expect_entry(SKIPS);
    assert_int_equal(line_read(&world->console, text, sizeof(text)), 3);
    assert_string_equal(text, "llo");
    assert_int_equal(world->page.gpr[GPR_RCX], 0);
}

static void print(const char *text)
{
    host_print(&world->vmm.host, text, (uint32_t)strlen(text));
}

static void test_messages_start_on_their_own_line(void **state)
{
    char text[128] = { 0 };
    (void)state;

    port(0x3F8, 1, false, '$');
    expect_entry(SKIPS);
    print("one ");
    print("line\ntwo\n");
    line_read(&world->console, text, sizeof(text) - 1);
    assert_string_equal(text, "$\r\n[vmm] one line\r\n[vmm] two\r\n");
}

static void test_message_waits_for_room(void **state)
{
    static uint8_t filler[CONSOLE_OUTPUT_SIZE];
    char text[32] = { 0 };
    (void)state;

    line_write(&world->vmm.host.line, filler, sizeof(filler));
    print("x\n");
    assert_int_equal(world->waits, 1);
    line_read(&world->console, text, sizeof(text) - 1);
    assert_string_equal(text, "[vmm] x\r\n");
    assert_int_equal(world->own_signals, 1); // the bit may have meant input
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_port_in_and_out),          TEST(test_msrs),
        TEST(test_string_out),
        TEST(test_string_in_chunks),         TEST(test_string_fault),
        TEST(test_string_segments),
        TEST(test_interrupt_exits),          TEST(test_deaths),
        TEST(test_resets),
        TEST(test_halted_for_good),          TEST(test_init_and_sipi),
        TEST(test_run_until_power_off),      TEST(test_run_until_exit),
        TEST(test_full_console),
        TEST(test_full_console_in_a_string), TEST(test_messages_start_on_their_own_line),
        TEST(test_message_waits_for_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
