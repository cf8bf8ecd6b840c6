// SPDX-License-Identifier: BSD-2-Clause
//
// Exits for memory that is none: devices by MMIO, pages mapped on demand, the local APIC.
#include "exit_world.h"

#define MMIO_CODE 0x1000ull

static void mmio(const char *code, uint64_t gpa, uint8_t access)
{
    ram_write(&world->vmm.ram, MMIO_CODE, code, 16);
    world->kind = VM_EXIT_MMIO;
    world->word = access | VM_MMIO_GVA | VM_MMIO_OPERAND;
    world->page.exit = (struct vm_exit){
        .rip = MMIO_CODE, .rflags = 2, .rsp = 0x80000,
        .mmio = { .gpa = gpa, .gva = gpa },
        .cpu = { .code_size = 8 },
    };
}

static void test_mmio_read_and_write(void **state)
{
    (void)state;
    world->page.gpr[GPR_RCX] = 0x99887766AABBCCDD;
    mmio("\x89\x0E             ", BENCH_MMIO_BASE + 4, VM_MMIO_WRITE); // mov [rsi], ecx
    expect_entry(SKIPS);
    assert_int_equal(world->skipped, 2);
    mmio("\x8B\x06             ", BENCH_MMIO_BASE, VM_MMIO_READ); // mov eax, [rsi]
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xAABBCCDD);
    mmio("\x81\x0E\x00\x00\x01\x00         ", BENCH_MMIO_BASE, 3); // or dword [rsi], 0x10000
    expect_entry(SKIPS | VM_ENTRY_RFLAGS);
    assert_int_equal(world->vmm.machine.testdev.bench_mmio.value, 0xAABBCCDD | 0x10000);
    mmio("\x8B\x06             ", 0xD0000000, VM_MMIO_READ); // nothing there
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xFFFFFFFF);
}

// CLFLUSH, CLFLUSHOPT and CLWB are allowed on any memory, and there is nothing to flush.
static void test_cache_lines(void **state)
{
    static const char *const code[] = {
        "\x0F\xAE\x3E            ", "\x66\x0F\xAE\x3E           ", "\x66\x0F\xAE\x36           ",
    };
    static const uint64_t gpa[] = { BENCH_MMIO_BASE, 0xD0000000, 0xFEE00000, 0xFEC00FC0 };
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 4; k++) {
            mmio(code[i], gpa[k], VM_MMIO_READ);
            expect_entry(SKIPS);
            assert_int_equal(world->skipped, i == 0 ? 3 : 4);
        }
    }
}

// An access of which only the second page is no memory exits with that page's address.
static void test_mmio_from_ram_into_nowhere(void **state)
{
    uint64_t end = 16 << 20;
    (void)state;
    guest_put(&world->vmm.ram, end - 4, 4, 0x11223344);
    world->page.gpr[GPR_RSI] = end - 3;
    mmio("\x48\x8B\x06            ", end, VM_MMIO_READ); // mov rax, [rsi]
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0xFFFFFFFFFF112233);
    world->page.gpr[GPR_RCX] = 0x99887766AABBCCDD;
    world->page.gpr[GPR_RSI] = end - 12;
    world->page.gpr[GPR_RBX] = 2;
    mmio("\x48\x89\x4C\x9E\x01          ", end, VM_MMIO_WRITE); // mov [rsi+rbx*4+1], rcx
    expect_entry(SKIPS);
    assert_int_equal(guest_get(&world->vmm.ram, end - 4, 4), 0xBBCCDD44);
    // The same value at the page's start is not the one that begins before.
    world->page.gpr[GPR_RSI] = end;
    mmio("\x48\x8B\x06            ", end, VM_MMIO_READ);
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], ~0ull);
    assert_int_equal(world->sregs_reads, 0);
    world->page.gpr[GPR_RSI] = 0x1000;
    world->page.sregs.fs.base = end - 0x1004;
    mmio("\x64\x48\x8B\x06           ", end, VM_MMIO_READ); // mov rax, fs:[rsi]
    expect_entry(SKIPS);
    assert_int_equal(world->sregs_reads, 1);
    assert_int_equal(world->page.gpr[GPR_RAX] >> 32, 0xFFFFFFFF);
    assert_int_equal((uint32_t)world->page.gpr[GPR_RAX], 0xBBCCDD44);
    world->page.gpr[GPR_RSI] = end - 4;
    mmio("\xFF\x36             ", end, VM_MMIO_READ); // push qword [rsi]
    expect_entry(SKIPS | VM_ENTRY_RSP);
    assert_int_equal(guest_get(&world->vmm.ram, 0x80000 - 8, 8), 0xFFFFFFFFBBCCDD44);
}

static void test_mmio_without_operand(void **state)
{
    (void)state;
    mmio("               ", 0xD0000000, VM_MMIO_EXEC);
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_UD);
    mmio("               ", 0xD0000000, VM_MMIO_READ);
    world->word &= ~(uint64_t)VM_MMIO_OPERAND;
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_PF);
    assert_int_equal(world->page.entry.fault.error, 9);
    world->word &= ~(uint64_t)VM_MMIO_GVA;
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_KILL);
}

// What is not emulated is the guest's to deal with, and said: not without end.
static void test_not_emulated(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        mmio("\x0F\x58\x06            ", 0xD0000000, VM_MMIO_READ); // addps
        expect_entry(VM_ENTRY_FAULT);
        assert_int_equal(world->page.entry.fault.vector, VECTOR_UD);
        assert_false(world->page.entry.fault.has_error);
    }
    assert_in_range(world->vmm.complaints, 1, 20); // lines
}

// Whatever touches a page of the text window gets it, and is tried again.
static void test_demand(void **state)
{
    // By an instruction, by the delivery of an event, by a page walk, by a fetch.
    static const uint64_t words[] = {
        VM_MMIO_READ | VM_MMIO_GVA | VM_MMIO_OPERAND, VM_MMIO_READ, VM_MMIO_READ | VM_MMIO_GVA,
        VM_MMIO_EXEC | VM_MMIO_GVA | VM_MMIO_OPERAND,
    };
    (void)state;

    for (unsigned i = 0; i < 4; i++) {
        mmio("\x8B\x06             ", RAM_TEXT + i * PAGE_SIZE + 0xFFC, VM_MMIO_READ);
        world->word = words[i];
        expect_entry(0);
        assert_int_equal(world->maps, i + 1);
        assert_int_equal(world->arguments[0], VM);
        assert_int_equal(world->arguments[1], RAM);
        assert_int_equal(world->arguments[2], RAM_TEXT + i * PAGE_SIZE);
        assert_int_equal(world->arguments[3], PAGE_SIZE);
        assert_int_equal(world->arguments[4], RAM_TEXT + i * PAGE_SIZE);
        assert_int_equal(world->arguments[5], PROT_READ | PROT_WRITE | PROT_EXEC);
    }
    mmio("\x8B\x06             ", RAM_TEXT - 4, VM_MMIO_READ);
    expect_entry(SKIPS);
    mmio("\x8B\x06             ", RAM_TEXT_END, VM_MMIO_READ);
    expect_entry(SKIPS);
    assert_int_equal(world->maps, 4);
    mmio("\x8B\x06             ", RAM_TEXT_END - 1, VM_MMIO_READ);
    world->map_status = ERR_QUOTA;
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_KILL);
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
    mmio("\xF3\xA5             ", BENCH_MMIO_BASE, VM_MMIO_READ); // rep movsd
    world->vmm.machine.testdev.bench_mmio.value = 0x01020304;
    world->page.gpr[GPR_RSI] = BENCH_MMIO_BASE;
    world->page.gpr[GPR_RDI] = 0x5000;
    world->page.gpr[GPR_RCX] = 3;
    expect_entry(SKIPS);
    assert_int_equal(guest_get(&world->vmm.ram, 0x5008, 8), 0x01020304);
    assert_int_equal(world->sregs_reads, 0); // flat segments need no look
    mmio("\x64\xAD             ", BENCH_MMIO_BASE, VM_MMIO_READ); // lods dword fs:
    world->page.gpr[GPR_RSI] = 0;
    world->page.sregs.fs.base = BENCH_MMIO_BASE;
    expect_entry(SKIPS);
    assert_int_equal(world->sregs_reads, 1);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x01020304);
}

static void test_local_apic(void **state)
{
    (void)state;
    world->page.gpr[GPR_RCX] = 0x10F;
    mmio("\x89\x0E             ", 0xFEE000F0, VM_MMIO_WRITE);
    expect_entry(VM_ENTRY_LAPIC | SKIPS);
    assert_int_equal(world->page.entry.lapic.offset, 0xF0);
    assert_int_equal(world->page.entry.lapic.write, 1);
    assert_int_equal(world->page.entry.lapic.value, 0x10F);
    mmio("\x8B\x06             ", 0xFEE00020, VM_MMIO_READ);
    expect_entry(VM_ENTRY_LAPIC);
    assert_int_equal(world->page.entry.lapic.offset, 0x20);
    assert_int_equal(world->page.entry.lapic.write, 0);
    world->kind = VM_EXIT_LAPIC_READ;
    world->page.exit.lapic.value = 0x03000000;
    expect_entry(SKIPS);
    assert_int_equal(world->skipped, 2);
    assert_int_equal(world->page.gpr[GPR_RAX], 0x03000000);
    // Read, change, write: and dword [rsi], 0xff
    mmio("\x81\x26\xFF\x00\x00\x00         ", 0xFEE00080, 3);
    expect_entry(VM_ENTRY_LAPIC);
    world->kind = VM_EXIT_LAPIC_READ;
    world->page.exit.lapic.value = 0x1234;
    expect_entry(VM_ENTRY_LAPIC | SKIPS | VM_ENTRY_RFLAGS);
    assert_int_equal(world->page.entry.lapic.write, 1);
    assert_int_equal(world->page.entry.lapic.value, 0x34);
    // Between registers there is nothing.
    mmio("\x8B\x06             ", 0xFEE00024, VM_MMIO_READ);
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 0);
    world->kind = VM_EXIT_LAPIC_READ; // nobody asked
    assert_int_equal(exit_handle(&world->vmm.vcpu[0], world->kind, world->word), EXIT_KILL);
}

// #DE comes from the value that a device gives, also one that lies in two pages.
static void test_divide_error(void **state)
{
    uint64_t end = 16 << 20;
    (void)state;

    world->page.gpr[GPR_RAX] = 100;
    world->vmm.machine.testdev.bench_mmio.value = 7;
    mmio("\xF7\x36             ", BENCH_MMIO_BASE, VM_MMIO_READ); // div dword [rsi]
    expect_entry(SKIPS);
    assert_int_equal(world->page.gpr[GPR_RAX], 14);
    assert_int_equal(world->page.gpr[GPR_RDX], 2);
    world->vmm.machine.testdev.bench_mmio.value = 2;
    mmio("\xF7\x36             ", BENCH_MMIO_BASE, VM_MMIO_READ);
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_DE);
    assert_false(world->page.entry.fault.has_error);
    assert_int_equal(world->page.gpr[GPR_RAX], 14);
    world->page.gpr[GPR_RDX] = 0x0F000000;
    world->page.gpr[GPR_RSI] = end - 3;
    guest_put(&world->vmm.ram, end - 4, 4, 0); // 0xFF000000
    mmio("\xF7\x36             ", end, VM_MMIO_READ);
    expect_entry(SKIPS);
    world->page.gpr[GPR_RDX] = 0xFF000000;
    mmio("\xF7\x36             ", end, VM_MMIO_READ);
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_DE);
    mmio("\xF7\x36             ", 0xFEE00020, VM_MMIO_READ);
    expect_entry(VM_ENTRY_LAPIC);
    world->kind = VM_EXIT_LAPIC_READ;
    world->page.exit.lapic.value = 0;
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_DE);
}

static void test_jump_and_vector(void **state)
{
    uint64_t bits = 2;
    (void)state;

    world->vmm.machine.testdev.bench_mmio.value = 0x1234; // twice: 64 bits
    mmio("\xFF\x26             ", BENCH_MMIO_BASE, VM_MMIO_READ); // jmp [rsi]
    world->page.gpr[GPR_RSI] = BENCH_MMIO_BASE;
    expect_entry(SKIPS);
    assert_int_equal(world->skipped, 2);
    assert_int_equal(world->sregs_reads, 1);
    assert_int_equal(world->sregs_writes, 1);
    assert_int_equal(world->page.sregs.rip + 2, 0x123400001234);
    assert_int_equal(world->fpu_reads, 0);
    memcpy(world->page.fpu + 512, &bits, sizeof(bits));
    mmio("\x66\x0F\x6E\x06           ", BENCH_MMIO_BASE, VM_MMIO_READ); // movd xmm0, [rsi]
    expect_entry(SKIPS);
    assert_int_equal(world->skipped, 4);
    assert_int_equal(world->fpu_reads, 1);
    assert_int_equal(world->fpu_writes, 1);
    assert_int_equal(*(uint32_t *)(world->page.fpu + 160), 0x1234);
    mmio("\x0F\x28\x46\x04           ", BENCH_MMIO_BASE, VM_MMIO_READ); // movaps [rsi + 4]
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_GP);
    assert_int_equal(world->sregs_reads, 1);
    mmio("\xFF\x26             ", 0xFEE00020, VM_MMIO_READ); // not there
    expect_entry(VM_ENTRY_FAULT);
    assert_int_equal(world->page.entry.fault.vector, VECTOR_UD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mmio_read_and_write),  TEST(test_cache_lines),
        TEST(test_mmio_from_ram_into_nowhere),
        TEST(test_mmio_without_operand), TEST(test_not_emulated),
        TEST(test_demand),
        TEST(test_demand_register),      TEST(test_mmio_string),
        TEST(test_local_apic),           TEST(test_divide_error),
        TEST(test_jump_and_vector),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
