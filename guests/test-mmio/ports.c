// SPDX-License-Identifier: BSD-2-Clause
//
// IN and OUT of three widths, INS and OUTS with REP, directions, prefixes, page borders and faults.
// The UART's scratch register is the port that holds what is written.

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "guests/lib/check.h"
#include "guests/lib/cpu.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"
#include "guests/lib/window.h"
#include "guests/test-mmio/groups.h"

#define PORT_NOBODY   0xB80
#define PORT_DEBUGCON 0xE9
#define PORT_8042     0x64
#define PORT_B        0x61
#define PCI_ADDRESS   0xCF8
#define PCI_DATA      0xCFC
#define PCI_CLASS     0x80000008u // register 8 of device 00:00.0

static void test_widths(void)
{
    uint64_t value = 0x1122334455667788;
    __asm__ volatile("inb %%dx, %%al" : "+a"(value) : "d"(PORT_NOBODY));
    check(value == 0x11223344556677FF, "in.byte", "%lx", value);
    value = 0x1122334455667788;
    __asm__ volatile("inw %%dx, %%ax" : "+a"(value) : "d"(PORT_NOBODY));
    check(value == 0x112233445566FFFF, "in.word", "%lx", value);
    value = 0x1122334455667788;
    __asm__ volatile("inl %%dx, %%eax" : "+a"(value) : "d"(PORT_NOBODY));
    check(value == 0xFFFFFFFF, "in.long", "%lx", value);
    outb(PORT_NOBODY, 0x12);
    outw(PORT_NOBODY, 0x1234);
    outl(PORT_NOBODY, 0x12345678);
    check(inl(PORT_NOBODY) == 0xFFFFFFFF, "out.nobody", "%x", (unsigned int)inl(PORT_NOBODY));
    outb(UART_SCRATCH, 0xA7);
    check(inb(UART_SCRATCH) == 0xA7, "out.byte", "%x", inb(UART_SCRATCH));
    __asm__ volatile("outb %%al, $0x80\n inb $0x80, %%al" : "+a"(value));
    check(true, "in.immediate", "-");
}

static void test_board_ports(void)
{
    outl(PCI_ADDRESS, PCI_CLASS);
    check(inl(PCI_ADDRESS) == PCI_CLASS, "pci.address", "%x", (unsigned int)inl(PCI_ADDRESS));
    check(inl(PCI_DATA) >> 16 == 0x0600, "pci.host-bridge", "%x", (unsigned int)inl(PCI_DATA));
    check(inw(PCI_DATA + 2) == 0x0600 && inb(PCI_DATA + 3) == 0x06, "pci.narrow", "%x %x",
          inw(PCI_DATA + 2), inb(PCI_DATA + 3));
    if (!cpu_on_bulkhead())
        return;
    check(inb(PORT_DEBUGCON) == 0xE9, "debugcon", "%x", inb(PORT_DEBUGCON));
    check(inb(PORT_8042) == 0x1C, "8042", "%x", inb(PORT_8042));
    uint8_t first = inb(PORT_B) & 0x10;
    bool toggles = false;
    for (unsigned int i = 0; i < 100000 && !toggles; i++)
        toggles = (inb(PORT_B) & 0x10) != first;
    check(toggles, "port61.refresh", "bit 4 does not change");
    outb(UART_SCRATCH, 0x3C);
    check(inw(UART_SCRATCH) == 0xFF3C, "in.past-the-end", "%x", inw(UART_SCRATCH));
    uint32_t wide = inl(UART_SCRATCH - 3);
    check(wide >> 24 == 0x3C, "in.wide", "%x", (unsigned int)wide);
    volatile uint32_t *text = (volatile uint32_t *)0xB8000;
    text[0] = 0x07410742;
    text[0x1FFF] = 0x07430744;
    check(text[0] == 0x07410742 && text[0x1FFF] == 0x07430744, "text-ram", "%x %x",
          (unsigned int)text[0], (unsigned int)text[0x1FFF]);
}

void test_ports(void)
{
    test_widths();
    test_board_ports();
}

// ---- string forms ----

static void test_rep(void)
{
    uint8_t bytes[300];
    for (unsigned int i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 3);
    const uint8_t *source = bytes;
    uint64_t count = sizeof(bytes);
    __asm__ volatile("rep outsb" : "+S"(source), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(count == 0 && source == bytes + sizeof(bytes) && inb(UART_SCRATCH) == bytes[299],
          "rep-outsb", "RCX %lu, RSI moved %ld, last %x", count, (long)(source - bytes),
          inb(UART_SCRATCH));

    uint8_t *target = bytes;
    count = 200;
    outb(UART_SCRATCH, 0x5C);
    __asm__ volatile("rep insb" : "+D"(target), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    bool filled = true;
    for (unsigned int i = 0; i < 200; i++)
        filled = filled && bytes[i] == 0x5C;
    check(count == 0 && target == bytes + 200 && filled && bytes[200] == (uint8_t)(200 * 3),
          "rep-insb", "RCX %lu, RDI moved %ld, filled %d", count, (long)(target - bytes), filled);

    uint32_t words[8] = {0};
    uint32_t *to = words;
    count = 4;
    __asm__ volatile("rep insl" : "+D"(to), "+c"(count) : "d"(PORT_NOBODY) : "memory");
    check(count == 0 && words[3] == 0xFFFFFFFF && words[4] == 0, "rep-insl", "%x %x",
          (unsigned int)words[3], (unsigned int)words[4]);
    uint16_t *halves = (uint16_t *)&words[4];
    count = 3;
    __asm__ volatile("rep insw" : "+D"(halves), "+c"(count) : "d"(PORT_NOBODY) : "memory");
    check(count == 0 && words[4] == 0xFFFFFFFF && words[5] == 0xFFFF, "rep-insw", "%x %x",
          (unsigned int)words[4], (unsigned int)words[5]);
    const uint32_t *from = words;
    count = 8;
    __asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(PORT_NOBODY) : "memory");
    check(count == 0 && from == words + 8, "rep-outsl", "RCX %lu, RSI moved %ld", count,
          (long)(from - words));
}

static void test_rep_forms(void)
{
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const uint8_t *source = bytes;
    uint64_t count = 0;
    __asm__ volatile("rep outsb" : "+S"(source), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(count == 0 && source == bytes, "rep-outsb.zero", "RCX %lu, RSI moved %ld", count,
          (long)(source - bytes));

    source = bytes + 7;
    count = 4;
    __asm__ volatile("std\n rep outsb\n cld"
                     : "+S"(source), "+c"(count)
                     : "d"(UART_SCRATCH)
                     : "memory");
    check(count == 0 && source == bytes + 3 && inb(UART_SCRATCH) == 5, "rep-outsb.down",
          "RSI moved %ld, last %x", (long)(source - bytes), inb(UART_SCRATCH));

    uint8_t *target = bytes + 7;
    count = 2;
    __asm__ volatile("std\n rep insb\n cld"
                     : "+D"(target), "+c"(count)
                     : "d"(UART_SCRATCH)
                     : "memory");
    check(target == bytes + 5 && bytes[7] == 5 && bytes[6] == 5 && bytes[5] == 6, "rep-insb.down",
          "RDI moved %ld", (long)(target - bytes));

    // Without REP, RCX is not looked at.
    source = bytes;
    count = 77;
    __asm__ volatile("outsb" : "+S"(source), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(count == 77 && source == bytes + 1 && inb(UART_SCRATCH) == 1, "outsb", "RCX %lu, last %x",
          count, inb(UART_SCRATCH));

    // A segment override gives the source another base; the target of INS has none.
    wrmsr(MSR_FS_BASE, (uintptr_t)bytes);
    uint64_t offset = 2;
    __asm__ volatile("outsb %%fs:(%%rsi), (%%dx)" : "+S"(offset) : "d"(UART_SCRATCH) : "memory");
    wrmsr(MSR_FS_BASE, 0);
    check(offset == 3 && inb(UART_SCRATCH) == 3, "outsb.fs", "RSI %lu, last %x", offset,
          inb(UART_SCRATCH));

    // 32-bit addresses: ESI and ECX alone count.
    static uint8_t low[4] = {9, 8, 7, 6};
    uint64_t address = (uintptr_t)low | 0xABCD00000000;
    count = 0x500000002;
    __asm__ volatile("addr32 rep outsb"
                     : "+S"(address), "+c"(count)
                     : "d"(UART_SCRATCH)
                     : "memory");
    check((uint32_t)count == 0 && (uint32_t)address == (uint32_t)(uintptr_t)(low + 2) &&
              inb(UART_SCRATCH) == 8,
          "rep-outsb.addr32", "RCX %lx, RSI %lx, last %x", count, address, inb(UART_SCRATCH));
}

// Two pages that are neighbours in linear memory only; then the second one is absent.
static void test_pages(void)
{
    static uint8_t pages[3][4096] __attribute__((aligned(4096)));
    uint8_t *border = (uint8_t *)window_map(1, window_entry(pages[0], PTE_W));
    window_map(0, window_entry(pages[2], PTE_W));
    memset(pages, 0, sizeof(pages));
    outb(UART_SCRATCH, 0x77);
    uint8_t *target = border - 6;
    uint64_t count = 12;
    __asm__ volatile("rep insb" : "+D"(target), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(count == 0 && pages[2][4095] == 0x77 && pages[2][4089] == 0 && pages[0][5] == 0x77 &&
              pages[0][6] == 0 && pages[1][0] == 0,
          "rep-insb.pages", "RCX %lu", count);

    pages[2][4095] = 0x31;
    pages[0][0] = 0x32;
    const uint8_t *source = border - 1;
    count = 2;
    __asm__ volatile("rep outsb" : "+S"(source), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(count == 0 && inb(UART_SCRATCH) == 0x32, "rep-outsb.pages", "last %x", inb(UART_SCRATCH));

    window_map(1, 0);
    source = border - 3;
    count = 5;
    trap_expect();
    __asm__ volatile(TRY("rep outsb") : "+S"(source), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(trap_caught.vector == VEC_PF && trap_caught.error == 0 &&
              trap_caught.cr2 == (uintptr_t)border && source == border && count == 2,
          "rep-outsb.fault", "vector %d, error %lx, CR2 %lx, RCX %lu", trap_caught.vector,
          trap_caught.error, trap_caught.cr2, count);
    target = border - 3;
    count = 5;
    trap_expect();
    __asm__ volatile(TRY("rep insb") : "+D"(target), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(trap_caught.vector == VEC_PF && trap_caught.error == 2 &&
              trap_caught.cr2 == (uintptr_t)border && target == border && count == 2,
          "rep-insb.fault", "vector %d, error %lx, CR2 %lx, RCX %lu", trap_caught.vector,
          trap_caught.error, trap_caught.cr2, count);

    // A page that may only be read is no target.
    window_map(1, window_entry(pages[0], 0));
    target = border;
    count = 1;
    trap_expect();
    __asm__ volatile(TRY("rep insb") : "+D"(target), "+c"(count) : "d"(UART_SCRATCH) : "memory");
    check(trap_caught.vector == VEC_PF && trap_caught.error == 3 && count == 1,
          "rep-insb.read-only", "vector %d, error %lx, RCX %lu", trap_caught.vector,
          trap_caught.error, count);
    window_map(0, 0);
    window_map(1, 0);
}

void test_string_io(void)
{
    test_rep();
    test_rep_forms();
    test_pages();
}
