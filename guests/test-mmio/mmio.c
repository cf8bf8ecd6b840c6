// SPDX-License-Identifier: BSD-2-Clause
//
// MMIO by many instructions against four targets: space that nobody claims (reads all ones on
// Bulkhead; other machines differ, so results are compared with a plain read), the area of ROMs,
// which is the same by other means, an entry of the I/O APIC's table as a 32-bit register that
// holds bits, and the TPR of the local APIC.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/trap.h"
#include "guests/test-mmio/groups.h"

#define NOBODY       0xFED80000ul
#define ROM_AREA     0xC0000ul
#define ROM_AREA_END 0xE0000ul
#define ROM          0xD0000ul // some page in it
#define PIN          6
#define HELD         (IOAPIC_MASKED | IOAPIC_LEVEL) // bits that the entry holds besides vector

// A load: `type` is that of the output, started with a pattern that shows what is left alone.
#define LOAD(instruction, start)                                                     \
    ({                                                                               \
        uint64_t value_ = (start);                                                   \
        __asm__ volatile(instruction : "+a"(value_) : "b"(NOBODY) : "memory", "cc"); \
        value_;                                                                      \
    })

#define PATTERN 0x1122334455667788ul

static void expect(const char *name, uint64_t got, uint64_t want)
{
    check(got == want, name, "%lx, expected %lx", (unsigned long)got, (unsigned long)want);
}

static void test_loads(uint64_t ones)
{
    expect("load.mov8", LOAD("movb (%%rbx), %%al", PATTERN), (PATTERN & ~0xFFul) | (ones & 0xFF));
    expect("load.mov8-high", LOAD("movb 1(%%rbx), %%ah", PATTERN),
           (PATTERN & ~0xFF00ul) | (ones & 0xFF00));
    expect("load.mov16", LOAD("movw (%%rbx), %%ax", PATTERN),
           (PATTERN & ~0xFFFFul) | (ones & 0xFFFF));
    expect("load.mov32", LOAD("movl (%%rbx), %%eax", PATTERN), (uint32_t)ones);
    expect("load.mov64", LOAD("movq (%%rbx), %%rax", PATTERN), ones);
    expect("load.movzx8", LOAD("movzbl (%%rbx), %%eax", PATTERN), ones & 0xFF);
    expect("load.movzx16", LOAD("movzwl (%%rbx), %%eax", PATTERN), ones & 0xFFFF);
    expect("load.movzx8-64", LOAD("movzbq (%%rbx), %%rax", PATTERN), ones & 0xFF);
    expect("load.movsx8", LOAD("movsbl (%%rbx), %%eax", PATTERN), (uint32_t)ones);
    expect("load.movsx8-64", LOAD("movsbq (%%rbx), %%rax", PATTERN), ones);
    expect("load.movsx16", LOAD("movswl (%%rbx), %%eax", PATTERN), (uint32_t)ones);
    expect("load.movsx32", LOAD("movslq (%%rbx), %%rax", PATTERN), ones);
    expect("load.and", LOAD("andl (%%rbx), %%eax", PATTERN), (uint32_t)PATTERN & (uint32_t)ones);
    expect("load.or", LOAD("orl (%%rbx), %%eax", PATTERN), (uint32_t)PATTERN | (uint32_t)ones);
    expect("load.xor", LOAD("xorl (%%rbx), %%eax", PATTERN), (uint32_t)PATTERN ^ (uint32_t)ones);
    expect("load.add", LOAD("addl (%%rbx), %%eax", PATTERN), (uint32_t)(PATTERN + ones));
    expect("load.sub", LOAD("subl (%%rbx), %%eax", PATTERN), (uint32_t)(PATTERN - ones));
    expect("load.push-pop", LOAD("pushq (%%rbx)\n popq %%rax", PATTERN), ones);
    expect("load.addr-index", LOAD("mov $2, %%ecx\n movl 8(%%rbx,%%rcx,4), %%eax", PATTERN),
           (uint32_t)ones);
    expect("load.addr32", LOAD("movl (%%ebx), %%eax", PATTERN), (uint32_t)ones);
    expect("load.absolute", LOAD("movabsl 0xFED80000, %%eax", PATTERN), (uint32_t)ones);
    expect("load.test", LOAD("testl $1, (%%rbx)\n setnz %%al\n movzbl %%al, %%eax", 0), ones & 1);
    expect("load.cmp", LOAD("cmpl $-1, (%%rbx)\n sete %%al\n movzbl %%al, %%eax", 0),
           (uint32_t)ones == 0xFFFFFFFF);
    expect("load.cmp8", LOAD("cmpb $-1, (%%rbx)\n sete %%al\n movzbl %%al, %%eax", 0),
           (ones & 0xFF) == 0xFF);
    expect("load.bt", LOAD("btl $31, (%%rbx)\n setc %%al\n movzbl %%al, %%eax", 0), ones & 1);
}

static void test_stores(uint64_t ones)
{
    uint64_t low = (uint32_t)PATTERN;
    __asm__ volatile("movb %%al, (%%rbx)\n movb %%ah, (%%rbx)\n movw %%ax, (%%rbx)\n"
                     "movl %%eax, (%%rbx)\n movq %%rax, (%%rbx)\n movb $1, (%%rbx)\n"
                     "movw $1, (%%rbx)\n movl $1, (%%rbx)\n movq $1, (%%rbx)\n"
                     :
                     : "a"(PATTERN), "b"(NOBODY)
                     : "memory");
    expect("store.mov", LOAD("movq (%%rbx), %%rax", 0), ones);
    __asm__ volatile("mov %0, %%r15\n mov %1, %%r8\n movl %%r15d, (%%r8)\n movl (%%r8), %%r9d"
                     :
                     : "r"(low), "r"(NOBODY)
                     : "r8", "r9", "r15", "memory");
    check(true, "store.high-registers", "-");

    uint64_t target = NOBODY, count = 5;
    __asm__ volatile("rep stosl" : "+D"(target), "+c"(count) : "a"(0x55) : "memory");
    check(target == NOBODY + 20 && count == 0, "store.rep-stos", "RDI %lx, RCX %lu",
          (unsigned long)target, (unsigned long)count);
    static const uint32_t words[4] = {1, 2, 3, 4};
    uint64_t source = (uintptr_t)words;
    target = NOBODY;
    count = 4;
    __asm__ volatile("rep movsl" : "+S"(source), "+D"(target), "+c"(count) : : "memory");
    check(target == NOBODY + 16 && count == 0 && source == (uintptr_t)(words + 4), "store.rep-movs",
          "RDI %lx, RCX %lu", (unsigned long)target, (unsigned long)count);
    uint32_t copy[4] = {0};
    source = NOBODY;
    target = (uintptr_t)copy;
    count = 3;
    __asm__ volatile("rep movsl" : "+S"(source), "+D"(target), "+c"(count) : : "memory");
    check(copy[0] == (uint32_t)ones && copy[2] == (uint32_t)ones && copy[3] == 0 && count == 0,
          "load.rep-movs", "%x %x %x", (unsigned int)copy[0], (unsigned int)copy[2],
          (unsigned int)copy[3]);
    source = NOBODY;
    uint32_t value = 0;
    __asm__ volatile("lodsl" : "=a"(value), "+S"(source) : : "memory");
    check(value == (uint32_t)ones && source == NOBODY + 4, "load.lods", "%x", (unsigned int)value);
}

void test_unclaimed(void)
{
    uint64_t ones = mmio_read32(NOBODY) == 0xFFFFFFFF ? ~0ul : 0;
    if (cpu_on_bulkhead())
        expect("load.all-ones", ones, ~0ul);
    test_loads(ones);
    test_stores(ones);
}

// ---- where a PC's adapters have their ROMs ----

static bool fetch_faulted;

// #UD of the call below: as if the call had returned.
static void return_from_rom(struct trap_frame *frame)
{
    fetch_faulted = frame->rip == ROM;
    frame->rip = *(uint64_t *)frame->rsp;
    frame->rsp += 8;
}

// Bulkhead has memory there that can be read without an exit; that must not show.
void test_rom_area(void)
{
    if (!cpu_on_bulkhead()) {
        check_skip("rom", "other machines have ROMs");
        return;
    }
    uint64_t source = ROM_AREA, others = 0, zero = 0;
    for (; source < ROM_AREA_END; source += 8)
        others += *(volatile uint64_t *)source != ~0ul;
    check(others == 0, "rom.all-ones", "%lu words are not", (unsigned long)others);
    __asm__ volatile("movb %%al, (%%rbx)\n movq %%rax, (%%rbx)\n andl %%eax, (%%rbx)\n"
                     "xchgl %%eax, (%%rbx)\n lock btrl $1, (%%rbx)\n movl $0, 4094(%%rbx)"
                     : "+a"(zero) : "b"(ROM) : "memory", "cc");
    uint64_t target = ROM, count = 2048;
    __asm__ volatile("rep stosl" : "+D"(target), "+c"(count) : "a"(0) : "memory");
    others = 0;
    for (source = ROM; source < ROM + 8192; source += 8)
        others += *(volatile uint64_t *)source != ~0ul;
    check(others == 0 && target == ROM + 8192, "rom.writes-vanish", "%lu words, RDI %lx",
          (unsigned long)others, (unsigned long)target);
    trap_set_handler(VEC_UD, return_from_rom);
    __asm__ volatile("call *%0" : : "r"(ROM) : "memory");
    trap_set_handler(VEC_UD, NULL);
    check(fetch_faulted, "rom.fetch", "no #UD");
}

// ---- a register that holds bits ----

// Runs an instruction on a register with RAX = `input`; the register at RBX begins with `start`.
#define MODIFY(base, start, instruction, input)                                             \
    ({                                                                                      \
        uint64_t in_ = (input);                                                             \
        mmio_write32(base, start);                                                          \
        __asm__ volatile(instruction : "+a"(in_) : "b"((uint64_t)(base)) : "memory", "cc"); \
        modified_input = in_;                                                               \
        mmio_read32(base);                                                                  \
    })

static uint64_t modified_input; // RAX behind the last MODIFY()

static void test_read_modify_write(uint32_t base, uint32_t held, const char *const names[])
{
    expect(names[0], MODIFY(base, held | 0x0F, "orl %%eax, (%%rbx)", 0x70), held | 0x7F);
    expect(names[1], MODIFY(base, held | 0x7F, "andl %%eax, (%%rbx)", ~0x0Ful), held | 0x70);
    expect(names[2], MODIFY(base, held | 0x7F, "xorl $0x11, (%%rbx)", 0), held | 0x6E);
    expect(names[3], MODIFY(base, held | 0x21, "xchgl %%eax, (%%rbx)", held | 0x42), held | 0x42);
    expect(names[4], modified_input, held | 0x21);
    expect(names[5], MODIFY(base, held | 0x21, "addl $2, (%%rbx)", 0), held | 0x23);
    expect(names[6], MODIFY(base, held | 0x21, "subl $1, (%%rbx)", 0), held | 0x20);
    expect(names[7], MODIFY(base, held | 0x21, "lock orl $0x40, (%%rbx)", 0), held | 0x61);
    expect(names[8], MODIFY(base, held | 0x21, "lock btsl $1, (%%rbx)", 0), held | 0x23);
    expect(names[9], MODIFY(base, held | 0x21, "cmpl %%eax, (%%rbx)\n sete %%al", held | 0x21),
           held | 0x21);
    expect(names[10], modified_input & 0xFF, 1);
    if (!names[11]) // the local APIC: plain loads and stores only, says the manual
        return;
    expect(names[11],
           MODIFY(base, held | 0x21, "mov %%rbx, %%rdi\n stosl\n mov %%edi, %%eax", held | 0x35),
           held | 0x35);
    expect(names[12], modified_input, base + 4);
}

void test_ioapic(void)
{
    static const char *const names[] = {
        "ioapic.or",     "ioapic.and",  "ioapic.xor",      "ioapic.xchg",     "ioapic.xchg-out",
        "ioapic.add",    "ioapic.sub",  "ioapic.lock-or",  "ioapic.lock-bts", "ioapic.cmp",
        "ioapic.cmp-zf", "ioapic.stos", "ioapic.stos-rdi",
    };
    mmio_write32(IOAPIC_SELECT, IOAPIC_REG_REDIR(PIN));
    test_read_modify_write(IOAPIC_WINDOW, HELD, names);
    mmio_write32(IOAPIC_WINDOW, IOAPIC_MASKED);
    mmio_write32(IOAPIC_SELECT, 0);
    __asm__ volatile("orb $1, (%0)" : : "r"((uint64_t)IOAPIC_SELECT) : "memory");
    check((mmio_read32(IOAPIC_WINDOW) >> 16 & 0xFF) == 23, "ioapic.select-byte", "%x",
          (unsigned int)mmio_read32(IOAPIC_WINDOW));
    mmio_write32(IOAPIC_SELECT, 0);
}

void test_lapic(void)
{
    static const char *const names[] = {
        "lapic.or",     "lapic.and",  "lapic.xor",      "lapic.xchg",     "lapic.xchg-out",
        "lapic.add",    "lapic.sub",  "lapic.lock-or",  "lapic.lock-bts", "lapic.cmp",
        "lapic.cmp-zf", 0,            0,
    };
    if (apic_mode() != APIC_MODE_XAPIC) {
        check_skip("lapic", "the APIC was not left in xAPIC mode");
        return;
    }
    test_read_modify_write(APIC_BASE_DEFAULT + APIC_TPR, 0, names);
    mmio_write32(APIC_BASE_DEFAULT + APIC_TPR, 0);
}
