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

static int exit_reset(struct vcpu *vcpu, const char *why)
{
    printf("%s: this is a reset\n", why);
    exit_dump(vcpu);
    machine_reset(&vcpu->vmm->machine);
    return 0;
}

// HLT with interrupts off. Where no NMI can come either, the guest will never go on: said once, and
// the VM stays as it is, to be looked at.
static int exit_halted(struct vcpu *vcpu)
{
    if (!ioapic_has_nmi(&vcpu->vmm->machine.ioapic)) {
        printf("the guest has halted with interrupts off: it will never go on\n");
        kcall_event_signal(vcpu->vmm->host.manager, vcpu->vmm->host.manager_bit);
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

static int exit_msr(struct vcpu *vcpu, bool write)
{
    static const struct guest_fault general_protection = { .vector = 13, .has_error = true };
    uint64_t *gpr = vcpu->page->gpr;
    uint32_t index = (uint32_t)gpr[GPR_RCX];
    uint64_t value = (uint32_t)gpr[GPR_RAX] | gpr[GPR_RDX] << 32;
    bool there = write ? msrs_write(&vcpu->msrs, index, value)
                       : msrs_read(&vcpu->msrs, index, &value);

    if (!there)
        return exit_fault(vcpu, &general_protection);
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

static inline __attribute__((always_inline)) int exit_pio(struct vcpu *vcpu, uint64_t word)
{
    struct vcpu_page *page = vcpu->page;
    struct bus *bus = &vcpu->vmm->machine.bus;
    uint16_t port = VM_PIO_PORT(word);
    unsigned size = VM_PIO_SIZE(word);

    if (unlikely(word & VM_PIO_STRING))
        return exit_pio_string(vcpu, word);
    if (word & VM_PIO_IN)
        pio_in(page, bus_port_read(bus, port, size), size);
    else if (unlikely(bus_port_write(bus, port, size, pio_out(page, size)) != BUS_OK))
        return EXIT_WAIT;
    return VM_RUN_NEXT;
}

static __attribute__((noinline)) int exit_other(struct vcpu *vcpu, int64_t kind)
{
    struct vcpu_page *page = vcpu->page;
    const struct vm_exit_killed *killed = &page->exit.killed;

    switch (kind) {
    case VM_EXIT_EVENT:
        exit_events(vcpu->vmm, page->exit.event.bits);
        return 0;
    case VM_EXIT_INTR_ACK:
        page->entry.intr_vector = i8259_ack(&vcpu->vmm->machine.pic);
        page->entry.flags |= VM_ENTRY_INTR;
        return VM_RUN_PAGE;
    case VM_EXIT_EOI:
        ioapic_eoi(&vcpu->vmm->machine.ioapic, (uint8_t)page->exit.eoi.vector);
        return 0;
    case VM_EXIT_LAPIC_READ:
        return exit_lapic_read(vcpu);
    case VM_EXIT_SHUTDOWN: // of its only processor: the board pulls the reset line
        return exit_reset(vcpu, "triple fault");
    case VM_EXIT_INIT:
        return exit_reset(vcpu, "INIT");
    case VM_EXIT_HALTED:
        return exit_halted(vcpu);
    case VM_EXIT_RDMSR:
    case VM_EXIT_WRMSR:
        return exit_msr(vcpu, kind == VM_EXIT_WRMSR);
    case VM_EXIT_DECODE:
        return exit_decode(vcpu);
    case VM_EXIT_KILLED:
        return exit_kill(vcpu, "the kernel cannot run it on: code %" PRIu32 ", reason %" PRIu32
                         ", details %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64,
                         killed->code, killed->reason, killed->detail[0], killed->detail[1],
                         killed->detail[2], killed->detail[3]);
    default:
        return exit_kill(vcpu, "exit of unknown kind %" PRId64, kind);
    }
}

static inline __attribute__((always_inline)) int exit_demand(struct vcpu *vcpu)
{
    uint64_t gpa = vcpu->page->exit.mmio.gpa;
    int64_t status = demand_map(&vcpu->vmm->demand, gpa);

    if (likely(status == OK))
        return 0;
    return exit_kill(vcpu, "no page for gpa 0x%" PRIx64 ": status %" PRId64, gpa, status);
}

static inline __attribute__((always_inline)) int exit_dispatch(struct vcpu *vcpu, int64_t kind,
                                                               uint64_t word)
{
    if (likely(kind == VM_EXIT_PIO))
        return exit_pio(vcpu, word);
    if (kind == VM_EXIT_MMIO)
        return demand_has(vcpu->page->exit.mmio.gpa) ? exit_demand(vcpu) : exit_mmio(vcpu, word);
    return exit_other(vcpu, kind);
}

int exit_handle(struct vcpu *vcpu, int64_t kind, uint64_t word)
{
    return exit_dispatch(vcpu, kind, word);
}

// The console has no room: the vCPU stands still, while time goes on for the board.
static int wait_and_retry(struct vcpu *vcpu, int64_t kind, uint64_t word)
{
    int result;

    do {
        exit_events(vcpu->vmm, host_wait(&vcpu->vmm->host, ~0ull));
        result = exit_handle(vcpu, kind, word);
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

int vmm_run(struct vcpu *vcpu)
{
    int result = 0;

    for (;;) {
        uint64_t word;
        int64_t kind = kcall_vcpu_run(vcpu->handle, (uint32_t)result, &word);
        if (unlikely(kind < 0)) {
            exit_kill(vcpu, "vcpu_run was refused: status %" PRId64, kind);
            return VMM_END_KILLED;
        }
        result = exit_dispatch(vcpu, kind, word); // in line: this is the hot path
        if (unlikely(result < 0)) {
            if (result == EXIT_WAIT)
                result = wait_and_retry(vcpu, kind, word);
            if (result == EXIT_KILL)
                return VMM_END_KILLED;
        }
        if (unlikely(vcpu->vmm->machine.power_pending))
            return ended(&vcpu->vmm->machine);
    }
}
