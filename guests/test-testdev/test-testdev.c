// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: the test board of a VM with `testdev = yes`, or that there is none. Option end=:
//   exit    ends by the exit port, with value=N (0 to 0x7F)
//   word    ends by the word at the shutdown port, behind false starts
//   none    there is no test board: its ports and memory are nobody's, and nothing ends by them

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "guests/lib/apic.h"
#include "guests/lib/check.h"
#include "guests/lib/clock.h"
#include "guests/lib/cpu.h"
#include "guests/lib/ioapic.h"
#include "guests/lib/options.h"
#include "guests/lib/pic.h"
#include "guests/lib/power.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"

#define PORT_ECHO     0xE0
#define PORT_FLUSH    0xE4
#define PORT_EXIT     0xF4
#define PORT_LINE     0x2000
#define PORT_SHUTDOWN 0x8900
#define PORT_BENCH    0xB0F
#define BENCH         0xFED40000ul
#define MEMORY        0xFF000000ul
#define MEMORY_END    (MEMORY + 0x10000)

#define LINE_EDGE   20
#define LINE_PIC    5
#define VEC_TESTDEV 0x74
#define VEC_SHARED  0x75
#define PATIENCE_NS (200 * NS_PER_MS)
#define QUIET_NS    (5 * NS_PER_MS)

static volatile unsigned int count;

static void test_echo(void)
{
    outl(PORT_ECHO, 0x12345678);
    outb(PORT_ECHO + 1, 0xA5);
    outw(PORT_ECHO + 2, 0xBEEF);
    check(inl(PORT_ECHO) == 0xBEEFA578, "echo.long", "%x", (unsigned int)inl(PORT_ECHO));
    check(inw(PORT_ECHO + 1) == 0xEFA5, "echo.word", "%x", inw(PORT_ECHO + 1));
    check(inb(PORT_ECHO + 3) == 0xBE, "echo.byte", "%x", inb(PORT_ECHO + 3));
    outl(PORT_FLUSH, 0x100000);
    check(inl(PORT_FLUSH) == 0 && inl(PORT_ECHO) == 0xBEEFA578, "flush", "%x, echo %x",
          (unsigned int)inl(PORT_FLUSH), (unsigned int)inl(PORT_ECHO));
}

static void test_memory(void)
{
    static const char text[] = "sixty-four kilobytes, all of which exit";
    char back[sizeof(text)];
    volatile uint64_t *first = (volatile uint64_t *)MEMORY;
    volatile uint8_t *last = (volatile uint8_t *)(MEMORY_END - 1);

    *first = 0x1122334455667788;
    ((volatile uint8_t *)first)[7] = 0xA5;
    ((volatile uint16_t *)first)[2] = 0xBEEF;
    ((volatile uint32_t *)first)[0] += 1;
    check(*first == 0xA522BEEF55667789, "memory.sizes", "%lx", *first);
    *last = 0x5A;
    check(*last == 0x5A && last[1] == 0xFF, "memory.end", "%x %x", *last, last[1]);
    char *to = (char *)MEMORY + 0x1FFC;
    const char *from = text;
    size_t bytes = sizeof(text);
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(bytes) : : "memory");
    from = (char *)MEMORY + 0x1FFC;
    to = back;
    bytes = sizeof(text);
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(bytes) : : "memory");
    check(memcmp(back, text, sizeof(text)) == 0, "memory.string", "'%.40s'", back);
}

static void on_line(struct trap_frame *frame)
{
    (void)frame;
    count = count + 1;
    apic_eoi();
}

static void on_pic(struct trap_frame *frame)
{
    (void)frame;
    count = count + 1;
    pic_eoi(LINE_PIC);
}

static void test_lines(void)
{
    pic_init(); // all masked, the timer's too
    trap_set_handler(VEC_TESTDEV, on_line);
    ioapic_route(LINE_EDGE, VEC_TESTDEV, (uint8_t)apic_id(), 0);
    outb(PORT_LINE + LINE_EDGE, 1);
    bool came = clock_wait_count(&count, 1, PATIENCE_NS);
    outb(PORT_LINE + LINE_EDGE, 2); // it is high
    outb(PORT_LINE + LINE_EDGE, 0);
    clock_wait_count(&count, 2, QUIET_NS);
    check(came && count == 1, "line.edge", "%u interrupts", count);
    outb(PORT_LINE + LINE_EDGE, 0x80);
    check(clock_wait_count(&count, 2, PATIENCE_NS), "line.again", "%u interrupts", count);
    outb(PORT_LINE + LINE_EDGE, 0);
    ioapic_mask(LINE_EDGE);

    trap_set_handler(VEC_PIC + LINE_PIC, on_pic);
    pic_unmask(LINE_PIC);
    count = 0;
    outb(PORT_LINE + LINE_PIC, 1);
    check(clock_wait_count(&count, 1, PATIENCE_NS), "line.pic", "%u interrupts", count);
    outb(PORT_LINE + LINE_PIC, 0);
}

static void on_shared(struct trap_frame *frame)
{
    ioapic_mask(GSI_COM1); // one is enough to know that the line is high
    on_line(frame);
}

// What the line of GSI 4 is, by unmasking its pin, level triggered.
static bool shared_is_high(void)
{
    count = 0;
    ioapic_route(GSI_COM1, VEC_SHARED, (uint8_t)apic_id(), IOAPIC_LEVEL);
    clock_wait_count(&count, 1, QUIET_NS);
    ioapic_mask(GSI_COM1);
    return count != 0;
}

// COM1 and the board drive IRQ 4: it is high while either does.
static void test_shared_line(void)
{
    trap_set_handler(VEC_SHARED, on_shared);
    uart_drain();
    bool before = shared_is_high();
    uart_line_on(); // for nothing is being sent
    bool uart = shared_is_high();
    outb(PORT_LINE + GSI_COM1, 1);
    bool both = shared_is_high();
    outb(PORT_LINE + GSI_COM1, 0);
    bool uart_left = shared_is_high();
    outb(PORT_LINE + GSI_COM1, 1);
    uart_line_off();
    bool board_left = shared_is_high();
    outb(PORT_LINE + GSI_COM1, 0);
    bool after = shared_is_high();
    check(!before && uart && both && !after, "line.shared", "%d %d %d %d", before, uart, both,
          after);
    check(uart_left, "line.shared-uart", "the board took COM1's request away");
    check(board_left, "line.shared-board", "COM1 took the board's request away");

    // As edges: the second to drive it makes none.
    trap_set_handler(VEC_SHARED, on_line);
    count = 0;
    ioapic_route(GSI_COM1, VEC_SHARED, (uint8_t)apic_id(), 0);
    outb(PORT_LINE + GSI_COM1, 1);
    bool came = clock_wait_count(&count, 1, PATIENCE_NS);
    uart_line_on();
    uart_line_off();
    clock_wait_count(&count, 2, QUIET_NS);
    unsigned int edges = count;
    ioapic_mask(GSI_COM1);
    outb(PORT_LINE + GSI_COM1, 0);
    check(came && edges == 1, "line.shared-edge", "%u interrupts for one edge", edges);
}

static void test_bench(void)
{
    volatile uint32_t *page = (volatile uint32_t *)BENCH;

    outb(PORT_BENCH, 0x3C);
    *page = 0xCAFE;
    check(inb(PORT_BENCH) == 0x3C && page[1] == 0xCAFE, "bench", "%x %x", inb(PORT_BENCH),
          (unsigned int)page[1]);
}

static void say(const char *letters)
{
    for (; *letters != '\0'; letters++)
        outb(PORT_SHUTDOWN, (uint8_t)*letters);
}

static void test_nobody(void)
{
    static const uint16_t ports[] = {PORT_ECHO, PORT_FLUSH, PORT_EXIT, PORT_LINE, PORT_SHUTDOWN,
                                     PORT_BENCH};

    for (unsigned int i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        outb(ports[i], 0x10);
        check(inb(ports[i]) == 0xFF, "nobody.port", "%x reads %x", ports[i], inb(ports[i]));
    }
    say("Shutdown");
    *(volatile uint32_t *)MEMORY = 0;
    check(*(volatile uint32_t *)MEMORY == UINT32_MAX, "nobody.memory", "%x",
          (unsigned int)*(volatile uint32_t *)MEMORY);
    check(*(volatile uint32_t *)BENCH == UINT32_MAX, "nobody.bench", "%x",
          (unsigned int)*(volatile uint32_t *)BENCH);
}

int main(void)
{
    const char *end = option("end");
    uint8_t value = (uint8_t)option_number("value", 0, 0, 0x7F);

    if (end == NULL)
        guest_die("option end=: want exit, word or none");
    if (strcmp(end, "none") == 0) {
        test_nobody();
        return check_done();
    }
    test_echo();
    test_memory();
    test_lines();
    test_shared_line();
    test_bench();
    int failed = check_done();
    uart_drain();
    if (failed == 0 && strcmp(end, "exit") == 0)
        outb(PORT_EXIT, value);
    if (failed == 0 && strcmp(end, "word") == 0) {
        say("ShutXdownShut");
        say("Shutdown");
    }
    guest_die("still here");
}
