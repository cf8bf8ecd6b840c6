// SPDX-License-Identifier: BSD-2-Clause
//
// The run loop: enter the guest, find out why it came back, act, enter again. The exits that come
// often are short: port I/O goes straight from the exit's record through the bus to the device.
// Runs on the vCPU's thread; where there are several, under the VMM's lock.
#include <inttypes.h>
#include <stdio.h>
#include "libc/kcall.h"
#include "vmm/cpu/exit.h"
#include "vmm/cpu/reset.h"
#include "vmm/vmm.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static int exit_reset(struct vcpu *vcpu, const char *why)
{
    dump_death(vcpu, why);
    machine_reset(&vcpu->vmm->machine);
    return 0;
}

static void say_halted(void)
{
    printf("the guest has halted with interrupts off: it will never go on\n");
}

// HLT with interrupts off, or an INIT. Where no other vCPU runs, and no NMI can come either, the
// guest will never go on: said once, and the VM stays as it is, to be looked at. What another vCPU
// has been woken by, it does not tell here: of several, the manager asks the kernel first.
static int exit_halted(struct vcpu *vcpu)
{
    struct vmm *vmm = vcpu->vmm;

    vmm->halted |= 1u << vcpu->id;
    if (vmm->halted == (1u << vmm->vcpus) - 1 && !ioapic_has_nmi(&vmm->machine.ioapic)) {
        if (vmm->vcpus == 1)
            say_halted();
        kcall_event_signal(vmm->host.manager, vmm->host.manager_bit);
    }
    return 0;
}

// Of the boot processor it is a reset, for there is no code at the reset vector. Another one waits
// for a start-up IPI.
static int exit_init(struct vcpu *vcpu)
{
    if (vcpu->id == 0)
        return exit_reset(vcpu, "INIT: this is a reset");
    bool read = kcall_vcpu_sregs(vcpu->handle, 0) == OK;
    vcpu->waits = true;
    reset_state(vcpu->page, vcpu->signature, vcpu->page->sregs.cr0);
    if (!read || kcall_vcpu_sregs(vcpu->handle, 1) != OK)
        return exit_kill(vcpu, "its registers could not be reset");
    return exit_halted(vcpu);
}

// Since its INIT, or its creation, nobody has touched the page.
static int exit_sipi(struct vcpu *vcpu)
{
    vcpu->waits = false;
    reset_start(vcpu->page, (uint8_t)vcpu->page->exit.sipi.vector);
    if (kcall_vcpu_sregs(vcpu->handle, 1) != OK)
        return exit_kill(vcpu, "its registers could not be set for its start");
    return 0;
}

// The vCPUs leave their guests to see it.
static void pause_or_resume(struct vmm *vmm, uint64_t bits)
{
    vmm->paused = (bits & VMM_BIT_PAUSE) != 0;
    machine_pause(&vmm->machine, vmm->paused);
    for (unsigned i = 0; vmm->vcpus > 1 && i < vmm->vcpus; i++)
        kcall_event_signal(vmm->lock.event[i], VMM_BIT_ASK);
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
    if (bits & VMM_BIT_NMI)
        machine_nmi(m);
    if (bits & VMM_BIT_HALTED)
        say_halted();
    if (bits & (VMM_BIT_PAUSE | VMM_BIT_RESUME))
        pause_or_resume(vmm, bits);
    if (bits & VMM_BITS_DUMP)
        dump_request(vmm, bits);
    if (bits & VMM_BIT_ANSWER)
        dump_answered(vmm);
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

// By an access's size less one. A byte or word lands in RAX beside what is there; a doubleword
// clears the upper half.
static const uint64_t pio_keeps[8] = { ~0xFFull, ~0xFFFFull };
static const uint32_t pio_mask[8] = { 0xFF, 0xFFFF, 0, 0xFFFFFFFF };

static inline __attribute__((always_inline)) int exit_pio(struct vcpu *vcpu, struct vmm *vmm,
                                                          uint32_t word)
{
    uint64_t *rax = &vcpu->page->gpr[GPR_RAX];
    struct bus *bus = &vmm->machine.bus;
    uint16_t port = VM_PIO_PORT(word);
    unsigned size = VM_PIO_SIZE(word);

    if (unlikely(word & VM_PIO_STRING))
        return exit_pio_string(vcpu, word);
    if (word & VM_PIO_IN)
        *rax = (*rax & pio_keeps[word & 7]) | bus_port_read(bus, port, size);
    else if (unlikely(bus_port_write(bus, port, size, (uint32_t)*rax & pio_mask[word & 7]) !=
                      BUS_OK))
        return EXIT_WAIT;
    return VM_RUN_NEXT;
}

// As long as the VM is paused. Where the vCPU's thread is the board's too, all else that it is told
// waits with it.
static __attribute__((noinline)) void stand_still(struct vcpu *vcpu)
{
    struct vmm *vmm = vcpu->vmm;
    uint64_t bits;

    while (vmm->paused) {
        if (vmm->vcpus == 1) {
            exit_events(vmm, host_wait(&vmm->host, VMM_BIT_RESUME | VMM_BITS_DUMP));
            continue;
        }
        vcpu->page->holds_lock = 0;
        lock_release(&vmm->lock);
        kcall_event_wait(vmm->lock.event[vcpu->id], VMM_BIT_ASK, 0, &bits);
        vmm_lock(vmm, vcpu->id);
        dump_answer(vmm, vcpu->id);
    }
}

// Of several vCPUs, the board's thread sees to all but what this one is asked for.
static int exit_event(struct vcpu *vcpu)
{
    struct vmm *vmm = vcpu->vmm;

    if (vmm->vcpus == 1)
        exit_events(vmm, vcpu->page->exit.event.bits);
    else
        dump_answer(vmm, vcpu->id);
    stand_still(vcpu);
    return 0;
}

static int exit_killed(struct vcpu *vcpu)
{
    static const char *const words[] = {
        [VM_KILLED_ENTRY] = "the CPU does not enter the guest",
        [VM_KILLED_UNKNOWN] = "nobody handles this exit",
        [VM_KILLED_MACHINE_CHECK] = "machine check",
        [VM_KILLED_MEMORY] = "no memory is left for a page table",
    };
    const struct vm_exit_killed *killed = &vcpu->page->exit.killed;
    const bool known = killed->code < sizeof(words) / sizeof(words[0]) && words[killed->code];

    return exit_kill(vcpu, "%s: reason %" PRIx32 ", %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64,
                     known ? words[killed->code] : "the kernel cannot run it on", killed->reason,
                     killed->detail[0], killed->detail[1], killed->detail[2], killed->detail[3]);
}

static __attribute__((noinline)) int exit_other(struct vcpu *vcpu, int64_t kind)
{
    struct vcpu_page *page = vcpu->page;

    exit_ring_tell(&vcpu->exits, page);
    switch (kind) {
    case VM_EXIT_EVENT:
        return exit_event(vcpu);
    case VM_EXIT_INTR_ACK:
        page->entry.intr_vector = i8259_ack(&vcpu->vmm->machine.pic);
        page->entry.flags |= VM_ENTRY_INTR;
        exit_ring_tell(&vcpu->exits, page);
        return VM_RUN_PAGE;
    case VM_EXIT_EOI:
        ioapic_eoi(&vcpu->vmm->machine.ioapic, (uint8_t)page->exit.eoi.vector);
        return 0;
    case VM_EXIT_LAPIC_READ:
        return exit_lapic_read(vcpu);
    case VM_EXIT_SHUTDOWN: // the board pulls the reset line
        return exit_reset(vcpu, "triple fault: this is a reset");
    case VM_EXIT_INIT:
        return exit_init(vcpu);
    case VM_EXIT_SIPI:
        return exit_sipi(vcpu);
    case VM_EXIT_HALTED:
        return exit_halted(vcpu);
    case VM_EXIT_RDMSR:
    case VM_EXIT_WRMSR:
        return exit_msr(vcpu, kind == VM_EXIT_WRMSR);
    case VM_EXIT_DECODE:
        return exit_decode(vcpu);
    case VM_EXIT_TASK:
        return exit_task(vcpu);
    case VM_EXIT_KILLED:
        return exit_killed(vcpu);
    default:
        return kind < 0 ? exit_kill(vcpu, "vcpu_run was refused: status %" PRId64, kind)
                        : exit_kill(vcpu, "exit of unknown kind %" PRId64, kind);
    }
}

static __attribute__((noinline)) int exit_no_page(struct vcpu *vcpu, int64_t status)
{
    return exit_kill(vcpu, "no page for gpa 0x%" PRIx64 ": status %" PRId64,
                     vcpu->page->exit.mmio.gpa, status);
}

static inline __attribute__((always_inline)) int exit_demand(struct vcpu *vcpu, uint64_t gpa)
{
    int64_t status = demand_map(&vcpu->vmm->demand, gpa);

    if (likely(status == OK || status == ERR_BUSY)) // another vCPU was first
        return 0;
    return exit_no_page(vcpu, status);
}

static inline __attribute__((always_inline)) int exit_dispatch(struct vcpu *vcpu, struct vmm *vmm,
                                                               int64_t kind, uint32_t word,
                                                               struct exit_more *more)
{
    const struct vm_exit *exit = &vcpu->page->exit;

    if (likely(kind == VM_EXIT_PIO))
        return exit_pio(vcpu, vmm, word);
    if (kind != VM_EXIT_MMIO)
        return exit_other(vcpu, kind);
    *more = (struct exit_more){ exit->mmio.gpa, exit->rip };
    return demand_has(more->a) ? exit_demand(vcpu, more->a) : exit_mmio(vcpu, word);
}

int exit_handle(struct vcpu *vcpu, int64_t kind, uint64_t word)
{
    struct exit_ring *exits = &vcpu->exits;

    return exit_dispatch(vcpu, vcpu->vmm, kind, (uint32_t)word,
                         exit_ring_more(exits, exit_ring_last(exits)));
}

// The console has no room: the vCPU stands still, while time goes on for the board, on this thread
// or on its own.
static __attribute__((noinline)) int wait_and_retry(struct vcpu *vcpu)
{
    const struct exit_record exit = *exit_ring_record(&vcpu->exits, exit_ring_last(&vcpu->exits));
    struct vmm *vmm = vcpu->vmm;
    int result;

    do {
        if (vmm->vcpus == 1) {
            exit_events(vmm, host_wait(&vmm->host, ~0ull));
        } else {
            uint64_t bits;
            host_wants_room(&vmm->host);
            lock_release(&vmm->lock);
            kcall_event_wait(vmm->lock.event[vcpu->id], VMM_BIT_CONSOLE | VMM_BIT_ASK, 0, &bits);
            vmm_lock(vmm, vcpu->id);
            dump_answer(vmm, vcpu->id);
        }
        stand_still(vcpu);
        if (vmm->machine.power_pending) // time has ended it
            return 0;
        result = exit_handle(vcpu, exit.kind, exit.word);
    } while (result == EXIT_WAIT);
    return result;
}

#define GOES_ON (-1)

// Each kind is told once: a guest may write it in a loop. -> enum vmm_end or GOES_ON
static int panicked(struct vmm *vmm)
{
    const enum power_event kind = vmm->machine.power;
    const bool first = (vmm->panics_said >> kind & 1) == 0;

    vmm->machine.power_pending = false;
    if (first)
        printf("the guest says that it has panicked%s\n",
               kind == POWER_CRASH ? ", and starts its own kernel for that case" : "");
    vmm->panics_said |= 1u << kind;
    if (kind == POWER_CRASH)
        return GOES_ON;
    if (vmm->panic_ends)
        return VMM_END_PANIC;
    if (first) {
        kcall_event_signal(vmm->host.notes, VMM_NOTE_PANIC);
        kcall_event_signal(vmm->host.manager, vmm->host.manager_bit);
    }
    return GOES_ON;
}

// The reason is also for who sees this VM's console alone. -> enum vmm_end or GOES_ON
static __attribute__((noinline)) int ended(struct vmm *vmm)
{
    const struct machine *m = &vmm->machine;

    switch (m->power) {
    case POWER_OFF:
        printf("the guest powered itself off\n");
        return VMM_END_POWEROFF;
    case POWER_EXIT:
        printf("the guest wrote 0x%" PRIx32 " to port 0x%x: status %u\n", m->testdev.exit_value,
               TESTDEV_EXIT, testdev_status(&m->testdev));
        return VMM_END_EXIT + testdev_status(&m->testdev);
    case POWER_HUNG:
        dump_hang(vmm, m->watchdog.enabled ? "hung: its watchdog was not fed in time"
                                           : "hung: its watchdog was not switched on in time");
        return VMM_END_WATCHDOG;
    case POWER_PANIC:
    case POWER_CRASH:
        return panicked(vmm);
    default:
        printf("the guest asked for a reboot\n");
        return VMM_END_RESET;
    }
}

static inline __attribute__((always_inline)) int run(struct vcpu *vcpu, struct vmm *vmm,
                                                     const bool locks)
{
    int result = 0;

    for (;;) {
        uint64_t word;
        int64_t kind = kcall_vcpu_run(vcpu->handle, (uint32_t)result, &word);
        struct exit_ring *here = vcpu_exits_next(vcpu);
        exit_ring_put(&vcpu->exits, here, (uint32_t)kind, (uint32_t)word);
        if (locks) {
            vmm_lock(vmm, vcpu->id);
            vcpu->page->holds_lock = 1;
            if (kind != VM_EXIT_EVENT) // which wakes nobody
                vmm->halted &= ~(1u << vcpu->id);
        }
        // In line: this is the hot path.
        result = exit_dispatch(vcpu, vmm, kind, (uint32_t)word, here->more);
        if (unlikely(result < 0)) {
            if (result == EXIT_WAIT)
                result = wait_and_retry(vcpu);
            if (result == EXIT_KILL)
                return VMM_END_KILLED;
        }
        if (unlikely(vmm->machine.power_pending)) {
            int end = ended(vmm);
            if (end != GOES_ON)
                return end;
        }
        if (locks) {
            vcpu->page->holds_lock = 0;
            lock_release(&vmm->lock);
        }
    }
}

// What was asked for by VMM_BIT_ASK is looked at here, for nobody asks again.
void vmm_lock_slow(struct vmm *vmm, unsigned thread)
{
    const bool board = thread == VMM_THREAD_BOARD;
    uint64_t bits;

    for (;;) {
        if (!board)
            dump_answer(vmm, thread);
        if (!lock_take_slow(&vmm->lock, thread))
            continue;
        if (board || !vmm->paused)
            return;
        lock_release(&vmm->lock);
        kcall_event_wait(vmm->lock.event[thread], VMM_BIT_ASK, 0, &bits);
    }
}

int vmm_run(struct vmm *vmm)
{
    return run(&vmm->vcpu[0], vmm, false);
}

int vmm_run_locked(struct vcpu *vcpu)
{
    return run(vcpu, vcpu->vmm, true);
}

// Who waits for room in the middle of a message holds the lock, so he is told before it is taken.
int vmm_run_board(struct vmm *vmm)
{
    for (;;) {
        uint64_t bits;
        kcall_event_wait(vmm->host.event, ~(uint64_t)VMM_BIT_LOCK, 0, &bits);
        if (bits & VMM_BIT_CONSOLE)
            host_has_room(&vmm->host, vmm->lock.event);
        vmm_lock(vmm, VMM_THREAD_BOARD);
        if (bits & VMM_BIT_CONSOLE)
            host_has_room(&vmm->host, vmm->lock.event);
        if (bits & VMM_BIT_ARM)
            host_arm_timer(&vmm->host);
        exit_events(vmm, bits);
        if (vmm->machine.power_pending)
            return ended(vmm); // for good: what goes on is seen to by the thread that it came from
        lock_release(&vmm->lock);
    }
}
