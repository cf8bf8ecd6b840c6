// SPDX-License-Identifier: BSD-2-Clause
//
// The run loop against a kernel that is played by this file: each test hands in exits and looks at
// what the VMM asks to be done before the next entry.
#include "guest.h"

#include <stdlib.h>

#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/vmm.h"

#define MMIO_CODE 0x1000ull
#define EVENT     7 // the VMM's own
#define VM        8
#define RAM       9 // the memory object

struct world {
    struct vmm vmm;
    struct vcpu_page page;
    unsigned runs, waits, own_signals, sregs_reads;
    unsigned script_at, script_length;
    struct vm_exit script[8];
    unsigned maps, unmaps;
    uint64_t arguments[6]; // of the last call that maps or unmaps
    int64_t map_status;
    struct line console; // the other end of the VM's line
    _Alignas(64) uint8_t line[CONSOLE_LINE_BYTES];
};

static struct world *world;

// vcpu_run() gives the next exit of the script; its end is a power-off by the guest.
static void next_exit(void)
{
    struct vm_exit *exit = &world->page.exit;

    world->runs++;
    world->page.entry.flags = 0;
    if (world->script_at < world->script_length) {
        *exit = world->script[world->script_at++];
        return;
    }
    *exit = (struct vm_exit){ .kind = VM_EXIT_PIO, .insn_len = 1,
                              .pio = { .port = ACPI_PM1A_CNT, .size = 2, .data = 1 << 13 } };
}

static void drain_console(void)
{
    uint8_t bytes[4096];

    while (line_read(&world->console, bytes, sizeof(bytes)) > 0) {
    }
}

int64_t fake_trap(uint64_t number, const uint64_t a[6], uint64_t *second)
{
    switch (number) {
    case SYS_vcpu_run:
        next_exit();
        return OK;
    case SYS_vcpu_sregs:
        world->sregs_reads++;
        return OK;
    case SYS_vm_map:
        world->maps++;
        memcpy(world->arguments, a, sizeof(world->arguments));
        return world->map_status;
    case SYS_vm_unmap:
        world->unmaps++;
        memcpy(world->arguments, a, sizeof(world->arguments));
        return OK;
    case SYS_event_wait:
        world->waits++;
        drain_console();
        *second = a[1] & VMM_BIT_CONSOLE;
        return OK;
    case SYS_event_signal:
        world->own_signals += a[0] == EVENT;
        return OK;
    default:
        return OK;
    }
}

static void console_signal(void *opaque)
{
    (void)opaque;
}

static int setup(void **state)
{
    struct start_line console = { .name = "test" };
    struct machine_host wires = { 0 };
    (void)state;

    time_init(1000000000);
    world = calloc(1, sizeof(*world));
    struct vmm *vmm = &world->vmm;
    vmm->page = &world->page;
    host_init(&vmm->host, &console, world->line);
    vmm->host.event = EVENT;
    line_attach_console(&world->console, world->line, console_signal, NULL);
    guest_ram_new(&vmm->ram, 16 << 20);
    insn_cache_init(&vmm->insns);
    host_wires(&vmm->host, &wires);
    assert_true(machine_init(&vmm->machine, &wires, 16 << 20, 0));
    vmm->demand = (struct demand){ VM, RAM };
    assert_true(demand_register(&vmm->demand, &vmm->machine.bus));
    world->page.exit.cpu.code_size = 8;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    guest_ram_free(&world->vmm.ram);
    free(world);
    return 0;
}

// Handles one exit; the result must be to enter the guest with these flags.
static void expect_entry(uint32_t flags)
{
    world->page.entry.flags = 0;
    assert_int_equal(exit_handle(&world->vmm), EXIT_ENTER);
    assert_int_equal(world->page.entry.flags, flags);
}

static void port(uint16_t number, uint8_t size, bool in, uint32_t data)
{
    world->page.exit.kind = VM_EXIT_PIO;
    world->page.exit.insn_len = 2;
    world->page.exit.pio = (struct vm_exit_pio){ .port = number, .size = size, .in = in,
                                                 .data = data };
}

static void mmio(const char *code, uint64_t gpa, uint8_t access)
{
    ram_write(&world->vmm.ram, MMIO_CODE, code, 16);
    world->page.exit = (struct vm_exit){
        .kind = VM_EXIT_MMIO, .rip = MMIO_CODE, .rflags = 2, .rsp = 0x80000,
        .mmio = { .gpa = gpa, .gva = gpa, .access = access, .gva_valid = 1 },
        .cpu = { .code_size = 8 },
    };
}

static void test_port_in_and_out(void **state)
{
    (void)state;
    port(0xB0F, 1, false, 0xA5);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.entry.skip_len, 2);
    world->page.gpr[GPR_RAX] = 0x1122334455667788;
    port(0xB0F, 1, true, 0);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x11223344556677A5);
    port(0x5000, 2, true, 0);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x112233445566FFFF);
    port(0x5000, 4, true, 0);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xFFFFFFFF);
}

static void string_port(bool in, bool rep, uint16_t number, uint8_t size, uint64_t gva,
                        uint64_t count)
{
    port(number, size, in, 0);
    world->page.exit.pio.string = 1;
    world->page.exit.pio.rep = rep;
    world->page.exit.pio.addr_size = 4;
    world->page.exit.pio.gva = gva;
    world->page.exit.cpu = (struct vm_exit_cpu){ .code_size = 4 };
    world->page.gpr[in ? GPR_RDI : GPR_RSI] = gva;
    world->page.gpr[GPR_RCX] = count;
}

static void test_string_out(void **state)
{
    char text[8] = { 0 };
    (void)state;

    ram_write(&world->vmm.ram, 0x2000, "hello", 5);
    string_port(false, true, 0xE9, 1, 0x2000, 5);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(line_read(&world->console, text, sizeof(text)), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(world->page.gpr[GPR_RCX], 0);
    assert_int_equal(world->page.gpr[GPR_RSI], 0x2005);
    string_port(false, true, 0xE9, 1, 0x2000, 0); // no repetition at all
    expect_entry(VM_ENTRY_SKIP);
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
    expect_entry(VM_ENTRY_SKIP);
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

static void test_mmio_read_and_write(void **state)
{
    (void)state;
    world->page.gpr[GPR_RCX] = 0x99887766AABBCCDD;
    mmio("\x89\x0E             ", BENCH_MMIO_BASE + 4, VM_ACCESS_WRITE); // mov [rsi], ecx
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.entry.skip_len, 2);
    mmio("\x8B\x06             ", BENCH_MMIO_BASE, VM_ACCESS_READ); // mov eax, [rsi]
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xAABBCCDD);
    mmio("\x81\x0E\x00\x00\x01\x00         ", BENCH_MMIO_BASE, 3); // or dword [rsi], 0x10000
    expect_entry(VM_ENTRY_SKIP | VM_ENTRY_RFLAGS);
    assert_int_equal(world->vmm.machine.bench_mmio.value, 0xAABBCCDD | 0x10000);
    mmio("\x8B\x06             ", 0xD0000000, VM_ACCESS_READ); // nothing there
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xFFFFFFFF);
}

// An access of which only the second page is no memory exits with that page's address.
static void test_mmio_from_ram_into_nowhere(void **state)
{
    uint64_t end = 16 << 20;
    (void)state;
    guest_put(&world->vmm.ram, end - 4, 4, 0x11223344);
    world->page.gpr[GPR_RSI] = end - 3;
    mmio("\x48\x8B\x06            ", end, VM_ACCESS_READ); // mov rax, [rsi]
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xFFFFFFFFFF112233);
    world->page.gpr[GPR_RCX] = 0x99887766AABBCCDD;
    world->page.gpr[GPR_RSI] = end - 12;
    world->page.gpr[GPR_RBX] = 2;
    mmio("\x48\x89\x4C\x9E\x01          ", end, VM_ACCESS_WRITE); // mov [rsi+rbx*4+1], rcx
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(guest_get(&world->vmm.ram, end - 4, 4), 0xBBCCDD44);
    // The same value at the page's start is not the one that begins before.
    world->page.gpr[GPR_RSI] = end;
    mmio("\x48\x8B\x06            ", end, VM_ACCESS_READ);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], ~0ull);
    assert_int_equal(world->sregs_reads, 0);
    world->page.gpr[GPR_RSI] = 0x1000;
    world->page.sregs.fs.base = end - 0x1004;
    mmio("\x64\x48\x8B\x06           ", end, VM_ACCESS_READ); // mov rax, fs:[rsi]
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->sregs_reads, 1);
    assert_int_equal(world->page.gpr[GPR_RAX] >> 32, 0xFFFFFFFF);
    assert_int_equal((uint32_t)world->page.gpr[GPR_RAX], 0xBBCCDD44);
    world->page.gpr[GPR_RSI] = end - 4;
    mmio("\xFF\x36             ", end, VM_ACCESS_READ); // push qword [rsi]
    expect_entry(VM_ENTRY_SKIP | VM_ENTRY_RSP);
    assert_int_equal(guest_get(&world->vmm.ram, 0x80000 - 8, 8), 0xFFFFFFFFBBCCDD44);
}

static void test_mmio_without_operand(void **state)
{
    (void)state;
    mmio("               ", 0xD0000000, VM_ACCESS_EXEC);
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_UD);
    mmio("               ", 0xD0000000, VM_ACCESS_READ);
    world->page.exit.mmio.page_walk = 1;
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_PF);
    assert_int_equal(world->page.entry.fault.error, 9);
    world->page.exit.mmio.page_walk = 0;
    world->page.exit.mmio.gva_valid = 0;
    assert_int_equal(exit_handle(&world->vmm), EXIT_KILL);
    mmio("\x0F\x28\x06            ", 0xD0000000, VM_ACCESS_READ); // movaps
    assert_int_equal(exit_handle(&world->vmm), EXIT_KILL);
}

// Whatever touches a page of the text window gets it, and is tried again.
static void test_demand(void **state)
{
    struct vm_exit_mmio *access = &world->page.exit.mmio;
    (void)state;

    for (unsigned i = 0; i < 4; i++) {
        mmio("\x8B\x06             ", RAM_TEXT + i * PAGE_SIZE + 0xFFC, VM_ACCESS_READ);
        if (i == 1)
            access->gva_valid = 0; // by the delivery of an event
        if (i == 2)
            access->page_walk = 1;
        if (i == 3)
            access->access = VM_ACCESS_EXEC;
        expect_entry(0);
        assert_int_equal(world->maps, i + 1);
        assert_int_equal(world->arguments[0], VM);
        assert_int_equal(world->arguments[1], RAM);
        assert_int_equal(world->arguments[2], RAM_TEXT + i * PAGE_SIZE);
        assert_int_equal(world->arguments[3], PAGE_SIZE);
        assert_int_equal(world->arguments[4], RAM_TEXT + i * PAGE_SIZE);
        assert_int_equal(world->arguments[5], PROT_READ | PROT_WRITE | PROT_EXEC);
    }
    mmio("\x8B\x06             ", RAM_TEXT - 4, VM_ACCESS_READ);
    expect_entry(VM_ENTRY_SKIP);
    mmio("\x8B\x06             ", RAM_TEXT_END, VM_ACCESS_READ);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->maps, 4);
    mmio("\x8B\x06             ", RAM_TEXT_END - 1, VM_ACCESS_READ);
    world->map_status = ERR_QUOTA;
    assert_int_equal(exit_handle(&world->vmm), EXIT_KILL);
}

static void test_demand_register(void **state)
{
    struct bus *bus = &world->vmm.machine.bus;
    (void)state;

    bus_mmio_write(bus, DEMAND_REGISTER, 4, 7);
    assert_int_equal(world->unmaps, 1);
    assert_int_equal(world->arguments[0], VM);
    assert_int_equal(world->arguments[1], RAM_TEXT_END - PAGE_SIZE);
    assert_int_equal(world->arguments[2], PAGE_SIZE);
    bus_mmio_write(bus, DEMAND_REGISTER, 4, 8); // no such page
    bus_mmio_write(bus, DEMAND_REGISTER, 1, 0);
    assert_int_equal(world->unmaps, 1);
    assert_int_equal(bus_mmio_read(bus, DEMAND_REGISTER, 4), 0xFFFFFFFF);
}

static void test_mmio_string(void **state)
{
    (void)state;
    mmio("\xF3\xA5             ", BENCH_MMIO_BASE, VM_ACCESS_READ); // rep movsd
    world->vmm.machine.bench_mmio.value = 0x01020304;
    world->page.gpr[GPR_RSI] = BENCH_MMIO_BASE;
    world->page.gpr[GPR_RDI] = 0x5000;
    world->page.gpr[GPR_RCX] = 3;
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(guest_get(&world->vmm.ram, 0x5008, 8), 0x01020304);
    assert_int_equal(world->sregs_reads, 0); // flat segments need no look
    mmio("\x64\xAD             ", BENCH_MMIO_BASE, VM_ACCESS_READ); // lods dword fs:
    world->page.gpr[GPR_RSI] = 0;
    world->page.sregs.fs.base = BENCH_MMIO_BASE;
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->sregs_reads, 1);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x01020304);
}

static void test_local_apic(void **state)
{
    (void)state;
    world->page.gpr[GPR_RCX] = 0x10F;
    mmio("\x89\x0E             ", 0xFEE000F0, VM_ACCESS_WRITE);
    expect_entry(VM_ENTRY_LAPIC | VM_ENTRY_SKIP);
    assert_int_equal(world->page.entry.lapic.offset, 0xF0);
    assert_int_equal(world->page.entry.lapic.write, 1);
    assert_int_equal(world->page.entry.lapic.value, 0x10F);
    mmio("\x8B\x06             ", 0xFEE00020, VM_ACCESS_READ);
    expect_entry(VM_ENTRY_LAPIC);
    assert_int_equal(world->page.entry.lapic.offset, 0x20);
    assert_int_equal(world->page.entry.lapic.write, 0);
    world->page.exit.kind = VM_EXIT_LAPIC_READ;
    world->page.exit.lapic.value = 0x03000000;
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.entry.skip_len, 2);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x03000000);
    // Read, change, write: and dword [rsi], 0xff
    mmio("\x81\x26\xFF\x00\x00\x00         ", 0xFEE00080, 3);
    expect_entry(VM_ENTRY_LAPIC);
    world->page.exit.kind = VM_EXIT_LAPIC_READ;
    world->page.exit.lapic.value = 0x1234;
    expect_entry(VM_ENTRY_LAPIC | VM_ENTRY_SKIP | VM_ENTRY_RFLAGS);
    assert_int_equal(world->page.entry.lapic.write, 1);
    assert_int_equal(world->page.entry.lapic.value, 0x34);
    // Between registers there is nothing.
    mmio("\x8B\x06             ", 0xFEE00024, VM_ACCESS_READ);
    expect_entry(VM_ENTRY_SKIP);
    assert_int_equal(world->page.gpr[GPR_RAX], 0);
    world->page.exit.kind = VM_EXIT_LAPIC_READ; // nobody asked
    assert_int_equal(exit_handle(&world->vmm), EXIT_KILL);
}

static void test_interrupt_exits(void **state)
{
    struct vm_exit *exit = &world->page.exit;
    (void)state;

    exit->kind = VM_EXIT_INTR_ACK;
    expect_entry(VM_ENTRY_INTR);
    assert_int_equal(world->page.entry.intr_vector, 0x0F); // nothing there: spurious
    exit->kind = VM_EXIT_EOI;
    exit->eoi.vector = 0x39;
    expect_entry(0);
    exit->kind = VM_EXIT_EVENT;
    exit->event.bits = VMM_BIT_TIMER | VMM_BIT_CONSOLE | VMM_BIT_STOP;
    expect_entry(0);
    assert_int_equal(world->vmm.machine.pm.status & 0x100, 0x100); // the power button
    exit->kind = VM_EXIT_HYPERCALL;
    expect_entry(0);
    assert_int_equal(world->page.gpr[GPR_RAX], ~0ull);
}

static void test_deaths(void **state)
{
    (void)state;
    world->page.exit.kind = VM_EXIT_SHUTDOWN;
    assert_int_equal(exit_handle(&world->vmm), EXIT_KILL);
    world->page.exit.kind = VM_EXIT_KILLED;
    assert_int_equal(exit_handle(&world->vmm), EXIT_KILL);
    world->page.exit.kind = 99;
    assert_int_equal(exit_handle(&world->vmm), EXIT_KILL);
    world->script[0] = (struct vm_exit){ .kind = VM_EXIT_SHUTDOWN };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_KILLED);
}

static void test_run_until_power_off(void **state)
{
    (void)state;
    world->script[0] = (struct vm_exit){ .kind = VM_EXIT_HYPERCALL };
    world->script_length = 1;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_POWEROFF);
    assert_int_equal(world->runs, 2);
    world->vmm.machine.power_pending = false;
    world->script[0] = (struct vm_exit){ .kind = VM_EXIT_PIO, .insn_len = 1,
                                         .pio = { .port = 0xCF9, .size = 1, .data = 6 } };
    world->script_at = 0;
    assert_int_equal(vmm_run(&world->vmm), VMM_END_RESET);
}

// No byte may get lost: with the ring full the same access is done again once there is room.
static void test_full_console(void **state)
{
    static uint8_t filler[CONSOLE_OUTPUT_SIZE];
    uint8_t byte = 0;
    (void)state;

    assert_int_equal(line_write(&world->vmm.host.line, filler, sizeof(filler)), sizeof(filler));
    port(0x3F8, 1, false, 'x');
    assert_int_equal(exit_handle(&world->vmm), EXIT_WAIT);
    assert_int_equal(world->page.entry.flags, 0);
    world->script[0] = world->page.exit;
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
    assert_int_equal(exit_handle(&world->vmm), EXIT_WAIT);
    assert_int_equal(world->page.gpr[GPR_RCX], 3);
    assert_int_equal(world->page.gpr[GPR_RSI], 0x2002);
    drain_console();
    expect_entry(VM_ENTRY_SKIP);
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
    expect_entry(VM_ENTRY_SKIP);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_port_in_and_out),      TEST(test_string_out),
        TEST(test_string_in_chunks),     TEST(test_string_fault),
        TEST(test_mmio_read_and_write),  TEST(test_mmio_from_ram_into_nowhere),
        TEST(test_mmio_without_operand), TEST(test_demand),
        TEST(test_demand_register),
        TEST(test_mmio_string),          TEST(test_local_apic),
        TEST(test_interrupt_exits),      TEST(test_deaths),
        TEST(test_run_until_power_off),  TEST(test_full_console),
        TEST(test_full_console_in_a_string), TEST(test_messages_start_on_their_own_line),
        TEST(test_message_waits_for_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
