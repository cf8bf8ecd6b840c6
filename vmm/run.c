// SPDX-License-Identifier: BSD-2-Clause
//
// The run loop: enter the guest, find out why it came back, act, enter again. The exits that come
// often are short: port I/O goes straight from the exit's record through the bus to the device.
// Runs on the VMM's only thread.
#include <inttypes.h>
#include <stdio.h>
#include "libc/kcall.h"
#include "vmm/cpu/exit.h"
#include "vmm/vmm.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static int exit_reset(struct vmm *vmm, const char *why)
{
    printf("%s: this is a reset\n", why);
    exit_dump(vmm);
    machine_reset(&vmm->machine);
    return 0;
}

// HLT with interrupts off. Where no NMI can come either, the guest will never go on: said once, and
// the VM stays as it is, to be looked at.
static int exit_halted(struct vmm *vmm)
{
    if (!ioapic_has_nmi(&vmm->machine.ioapic)) {
        printf("the guest has halted with interrupts off: it will never go on\n");
        kcall_event_signal(vmm->host.manager, vmm->host.manager_bit);
    }
    return 0;
}

void exit_events(struct vmm *vmm, uint64_t bits)
{
    struct machine *m = &vmm->machine;

    if (bits & VMM_BIT_TIMER)
        clock_run(&m->clock, clock_now(&m->clock));
    if (bits & VMM_BIT_CONSOLE)
        uart16550_rx_poll(&m->com1);
    if (bits & VMM_BIT_STOP)
        acpi_pm_power_button(&m->pm);
}

static int exit_msr(struct vmm *vmm, bool write)
{
    static const struct guest_fault general_protection = { .vector = 13, .has_error = true };
    uint64_t *gpr = vmm->page->gpr;
    uint32_t index = (uint32_t)gpr[GPR_RCX];
    uint64_t value = (uint32_t)gpr[GPR_RAX] | gpr[GPR_RDX] << 32;
    bool there = write ? msrs_write(&vmm->msrs, index, value)
                       : msrs_read(&vmm->msrs, index, &value);

    if (!there)
        return exit_fault(vmm, &general_protection);
    if (!write) {
        gpr[GPR_RAX] = (uint32_t)value;
        gpr[GPR_RDX] = value >> 32;
    }
    return VM_RUN_NEXT;
}

// A byte or word lands in RAX beside what is there; a doubleword clears the upper half.
static inline void pio_in(struct vcpu_page *page, uint32_t value, unsigned size)
{
    uint64_t *rax = &page->gpr[GPR_RAX];

    if (size == 4)
        *rax = value;
    else if (size == 2)
        *rax = (*rax & ~0xFFFFull) | value;
    else
        *rax = (*rax & ~0xFFull) | value;
}

static inline uint32_t pio_out(const struct vcpu_page *page, unsigned size)
{
    uint32_t value = (uint32_t)page->gpr[GPR_RAX];

    if (size == 4)
        return value;
    return size == 2 ? (uint16_t)value : (uint8_t)value;
}

static inline __attribute__((always_inline)) int exit_pio(struct vmm *vmm, uint64_t word)
{
    struct vcpu_page *page = vmm->page;
    struct bus *bus = &vmm->machine.bus;
    uint16_t port = VM_PIO_PORT(word);
    unsigned size = VM_PIO_SIZE(word);

    if (unlikely(word & VM_PIO_STRING))
        return exit_pio_string(vmm, word);
    if (word & VM_PIO_IN)
        pio_in(page, bus_port_read(bus, port, size), size);
    else if (unlikely(bus_port_write(bus, port, size, pio_out(page, size)) != BUS_OK))
        return EXIT_WAIT;
    return VM_RUN_NEXT;
}

static __attribute__((noinline)) int exit_other(struct vmm *vmm, int64_t kind)
{
    struct vcpu_page *page = vmm->page;
    const struct vm_exit_killed *killed = &page->exit.killed;

    switch (kind) {
    case VM_EXIT_EVENT:
        exit_events(vmm, page->exit.event.bits);
        return 0;
    case VM_EXIT_INTR_ACK:
        page->entry.intr_vector = i8259_ack(&vmm->machine.pic);
        page->entry.flags |= VM_ENTRY_INTR;
        return VM_RUN_PAGE;
    case VM_EXIT_EOI:
        ioapic_eoi(&vmm->machine.ioapic, (uint8_t)page->exit.eoi.vector);
        return 0;
    case VM_EXIT_LAPIC_READ:
        return exit_lapic_read(vmm);
    case VM_EXIT_SHUTDOWN: // of its only processor: the board pulls the reset line
        return exit_reset(vmm, "triple fault");
    case VM_EXIT_INIT:
        return exit_reset(vmm, "INIT");
    case VM_EXIT_HALTED:
        return exit_halted(vmm);
    case VM_EXIT_RDMSR:
    case VM_EXIT_WRMSR:
        return exit_msr(vmm, kind == VM_EXIT_WRMSR);
    case VM_EXIT_DECODE:
        return exit_decode(vmm);
    case VM_EXIT_KILLED:
        return exit_kill(vmm, "the kernel cannot run it on: code %" PRIu32 ", reason %" PRIu32
                         ", details %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64,
                         killed->code, killed->reason, killed->detail[0], killed->detail[1],
                         killed->detail[2], killed->detail[3]);
    default:
        return exit_kill(vmm, "exit of unknown kind %" PRId64, kind);
    }
}

static inline __attribute__((always_inline)) int exit_demand(struct vmm *vmm)
{
    uint64_t gpa = vmm->page->exit.mmio.gpa;
    int64_t status = demand_map(&vmm->demand, gpa);

    if (likely(status == OK))
        return 0;
    return exit_kill(vmm, "no page for gpa 0x%" PRIx64 ": status %" PRId64, gpa, status);
}

static inline __attribute__((always_inline)) int exit_dispatch(struct vmm *vmm, int64_t kind,
                                                               uint64_t word)
{
    if (likely(kind == VM_EXIT_PIO))
        return exit_pio(vmm, word);
    if (kind == VM_EXIT_MMIO)
        return demand_has(vmm->page->exit.mmio.gpa) ? exit_demand(vmm) : exit_mmio(vmm, word);
    return exit_other(vmm, kind);
}

int exit_handle(struct vmm *vmm, int64_t kind, uint64_t word)
{
    return exit_dispatch(vmm, kind, word);
}

// The console has no room: the vCPU stands still, while time goes on for the board.
static int wait_and_retry(struct vmm *vmm, int64_t kind, uint64_t word)
{
    int result;

    do {
        exit_events(vmm, host_wait(&vmm->host, ~0ull));
        result = exit_handle(vmm, kind, word);
    } while (result == EXIT_WAIT);
    return result;
}

// The reason is also for who sees this VM's console alone. -> enum vmm_end
static __attribute__((noinline)) int ended(const struct machine *m)
{
    switch (m->power) {
    case POWER_OFF:
        printf("the guest powered itself off\n");
        return VMM_END_POWEROFF;
    case POWER_EXIT:
        printf("the guest wrote 0x%" PRIx32 " to port 0x%x: status %u\n", m->testdev.exit_value,
               TESTDEV_EXIT, testdev_status(&m->testdev));
        return VMM_END_EXIT + testdev_status(&m->testdev);
    default:
        printf("the guest asked for a reboot\n");
        return VMM_END_RESET;
    }
}

int vmm_run(struct vmm *vmm)
{
    int result = 0;

    for (;;) {
        uint64_t word;
        int64_t kind = kcall_vcpu_run(vmm->host.vcpu, (uint32_t)result, &word);
        if (unlikely(kind < 0)) {
            exit_kill(vmm, "vcpu_run was refused: status %" PRId64, kind);
            return VMM_END_KILLED;
        }
        result = exit_dispatch(vmm, kind, word); // in line: this is the hot path
        if (unlikely(result < 0)) {
            if (result == EXIT_WAIT)
                result = wait_and_retry(vmm, kind, word);
            if (result == EXIT_KILL)
                return VMM_END_KILLED;
        }
        if (unlikely(vmm->machine.power_pending))
            return ended(&vmm->machine);
    }
}
