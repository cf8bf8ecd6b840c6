// SPDX-License-Identifier: BSD-2-Clause
//
// Power-off, and death with a message. Prints through the polled UART with no help from libc,
// because libc may be what died. No state.

#include "guests/lib/power.h"

#include "guests/lib/cpu.h"
#include "guests/lib/trap.h"
#include "guests/lib/uart.h"

// PM1a control of Bulkhead's board and of QEMU, and that of Bochs. There is no AML interpreter here
// to ask for the sleep type of S5: it is 0 on all three boards, and often 5 or 7 elsewhere.
#define PM1A_CONTROL       0x604
#define PM1A_CONTROL_BOCHS 0xB004
#define PM1_SLEEP_ENABLE   (1u << 13)
#define QEMU_DEBUG_EXIT    0xF4

void guest_poweroff(int status)
{
    cpu_irq_disable();
    uart_drain();
    if (!cpu_on_bulkhead())
        outb(QEMU_DEBUG_EXIT, (uint8_t)status);
    outw(PM1A_CONTROL, PM1_SLEEP_ENABLE);
    if (!cpu_on_bulkhead())
        outw(PM1A_CONTROL_BOCHS, PM1_SLEEP_ENABLE);
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

void guest_die(const char *message)
{
    uart_puts("\nGUEST-FAIL ");
    uart_puts(message);
    uart_puts("\n");
    guest_poweroff(1);
}

static void put_field(const char *name, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 + 16 + 1] = "0x";
    unsigned int length = 2;
    bool leading = true;
    for (int shift = 60; shift >= 0; shift -= 4) {
        unsigned int digit = value >> shift & 0xF;
        leading = leading && digit == 0 && shift > 0;
        if (!leading)
            text[length++] = digits[digit];
    }
    text[length] = 0;
    uart_puts(name);
    uart_puts(text);
}

void guest_die_by_trap(const struct trap_frame *frame, uint64_t cr2)
{
    put_field("\nGUEST-FAIL unexpected trap: vector ", frame->vector);
    put_field(" error ", frame->error);
    put_field(" rip ", frame->rip);
    put_field(" cs ", frame->cs);
    put_field(" rflags ", frame->rflags);
    put_field(" rsp ", frame->rsp);
    put_field(" cr2 ", cr2);
    uart_puts("\n");
    guest_poweroff(1);
}
