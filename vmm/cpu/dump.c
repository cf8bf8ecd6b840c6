// SPDX-License-Identifier: BSD-2-Clause
//
// How the views of a VM's vCPUs are taken and printed.
#include "vmm/cpu/dump.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/cpu/exit.h"

#define WAIT_NS 1000000000ull // for those that do not answer when the VM ends

#define APIC_TPR   0x80
#define APIC_ID    0x20
#define APIC_SVR   0xF0
#define APIC_ISR   0x100
#define APIC_IRR   0x200
#define APIC_TIMER 0x320
#define APIC_LINT0 0x350
#define APIC_CURRENT 0x390

// All ones: there is none in xAPIC mode, or the kernel does not run this vCPU any more. The guest
// is not entered.
static uint32_t lapic_read(const struct vcpu *vcpu, uint16_t offset)
{
    struct vm_entry *entry = &vcpu->page->entry;
    uint64_t word;

    entry->lapic.offset = offset;
    entry->lapic.write = 0;
    entry->flags = VM_ENTRY_LAPIC;
    if (kcall_vcpu_run(vcpu->handle, VM_RUN_PAGE, &word) != VM_EXIT_LAPIC_READ)
        return UINT32_MAX;
    return vcpu->page->exit.lapic.value;
}

// The highest in 256 bits, or -1.
static int lapic_highest(const struct vcpu *vcpu, uint16_t offset)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t bits = lapic_read(vcpu, (uint16_t)(offset + 16 * i));
        if (bits != 0)
            return 32 * i + 31 - __builtin_clz(bits);
    }
    return -1;
}

static void view_lapic(const struct vcpu *vcpu, struct view_lapic *lapic)
{
    lapic->seen = lapic_read(vcpu, APIC_ID) != UINT32_MAX;
    if (!lapic->seen)
        return;
    lapic->tpr = lapic_read(vcpu, APIC_TPR);
    lapic->svr = lapic_read(vcpu, APIC_SVR);
    lapic->lint0 = lapic_read(vcpu, APIC_LINT0);
    lapic->timer = lapic_read(vcpu, APIC_TIMER);
    lapic->current = lapic_read(vcpu, APIC_CURRENT);
    lapic->irr = lapic_highest(vcpu, APIC_IRR);
    lapic->isr = lapic_highest(vcpu, APIC_ISR);
}

// Leaves all as it was, also what an exit that is handled again has in the page.
static void view_take(const struct vcpu *vcpu, struct view *view)
{
    struct vcpu_page *page = vcpu->page;
    const struct vm_exit exit = page->exit;
    const struct vm_entry entry = page->entry;

    memset(view, 0, sizeof(*view));
    view->id = vcpu->id;
    view->exits = vcpu->exits;
    exit_ring_tell(&view->exits, page); // it may not be handled yet
    view->tsc = tsc_read();
    view->status = kcall_vcpu_sregs(vcpu->handle, 0);
    if (view->status < 0)
        return;
    memcpy(view->gpr, page->gpr, sizeof(view->gpr));
    view->sregs = page->sregs;
    view->entry_flags = entry.flags;
    view->fault = entry.fault.vector;
    view->intr = entry.intr_vector;
    view_code(view, &vcpu->vmm->ram);
    view->state = vcpu->waits ? VIEW_WAITING : view_activity(view);
    if (exit_ring_kind(&view->exits) != VM_EXIT_INTR_ACK) // the kernel waits for that answer
        view_lapic(vcpu, &view->lapic);
    page->exit = exit;
    page->entry = entry;
}

static void print(const struct view *view, const char *why)
{
    char text[VIEW_TEXT];

    view_screen(view, why, text);
    fputs(text, stdout);
}

static void print_line(const struct view *view)
{
    char text[VIEW_COLUMNS + 2];

    view_line(view, text);
    fputs(text, stdout);
}

// Of each vCPU that is not in `full`, a line.
static void print_others(const struct vmm *vmm, uint32_t full, uint32_t silent)
{
    for (unsigned i = 0; i < vmm->vcpus; i++) {
        if ((full >> i & 1) != 0)
            continue;
        if ((silent >> i & 1) != 0)
            printf("vcpu %u: does not answer\n", i);
        else
            print_line(&vmm->dump.view[i]);
    }
    fflush(stdout);
}

static void ask(struct vmm *vmm, uint32_t vcpus, handle_t asker)
{
    vmm->dump.asker = asker;
    __atomic_fetch_or(&vmm->dump.asked, vcpus, __ATOMIC_SEQ_CST);
    for (; vcpus != 0; vcpus &= vcpus - 1)
        kcall_event_signal(vmm->lock.event[__builtin_ctz(vcpus)], VMM_BIT_ASK);
}

void dump_answer(struct vmm *vmm, unsigned id)
{
    const uint32_t bit = 1u << id;

    if ((__atomic_load_n(&vmm->dump.asked, __ATOMIC_SEQ_CST) & bit) == 0)
        return;
    view_take(&vmm->vcpu[id], &vmm->dump.view[id]);
    if (__atomic_and_fetch(&vmm->dump.asked, ~bit, __ATOMIC_SEQ_CST) == 0)
        kcall_event_signal(vmm->dump.asker, VMM_BIT_ANSWER);
}

static uint32_t all(const struct vmm *vmm)
{
    return (1u << vmm->vcpus) - 1;
}

// -> those that have not answered in time
static uint32_t ask_and_wait(struct vmm *vmm, uint32_t vcpus, handle_t asker)
{
    const uint64_t deadline = ns_to_tsc(time_host_ns() + WAIT_NS);
    int64_t status = OK;
    uint64_t bits;

    ask(vmm, vcpus, asker);
    while (__atomic_load_n(&vmm->dump.asked, __ATOMIC_SEQ_CST) != 0 && status == OK)
        status = kcall_event_wait(asker, VMM_BIT_ANSWER, deadline, &bits);
    return __atomic_load_n(&vmm->dump.asked, __ATOMIC_SEQ_CST);
}

void dump_death(struct vcpu *vcpu, const char *why)
{
    struct vmm *vmm = vcpu->vmm;
    const uint32_t bit = 1u << vcpu->id;
    uint32_t silent = 0;

    view_take(vcpu, &vmm->dump.view[vcpu->id]);
    __atomic_fetch_and(&vmm->dump.asked, ~bit, __ATOMIC_SEQ_CST); // it has been asked before
    if (vmm->vcpus > 1)
        silent = ask_and_wait(vmm, all(vmm) & ~bit, vmm->lock.event[vcpu->id]);
    print(&vmm->dump.view[vcpu->id], why);
    print_others(vmm, bit, silent);
}

void dump_hang(struct vmm *vmm, const char *why)
{
    if (vmm->vcpus == 1) {
        dump_death(&vmm->vcpu[0], why);
        return;
    }
    uint32_t silent = ask_and_wait(vmm, all(vmm), vmm->host.event), shown = ~silent & 1;
    if (shown != 0)
        print(&vmm->dump.view[0], why);
    else
        printf("%s\n", why);
    print_others(vmm, shown, silent);
}

static void print_wanted(struct vmm *vmm)
{
    const uint32_t full = vmm->dump.full & all(vmm);

    vmm->dump.full = 0;
    for (unsigned i = 0; i < vmm->vcpus; i++) {
        if ((full >> i & 1) != 0)
            print(&vmm->dump.view[i], "asked for by the monitor:");
    }
    print_others(vmm, full, 0);
}

void dump_request(struct vmm *vmm, uint64_t bits)
{
    vmm->dump.full |= (uint32_t)((bits & VMM_BITS_DUMP) / VMM_BIT_DUMP(0));
    if (vmm->vcpus > 1) {
        ask(vmm, all(vmm), vmm->host.event);
    } else {
        view_take(&vmm->vcpu[0], &vmm->dump.view[0]);
        print_wanted(vmm);
    }
}

void dump_answered(struct vmm *vmm)
{
    if (vmm->dump.full != 0 && __atomic_load_n(&vmm->dump.asked, __ATOMIC_SEQ_CST) == 0)
        print_wanted(vmm);
}

int exit_kill(struct vcpu *vcpu, const char *format, ...)
{
    static const char killed[] = "killed: ";
    char why[2 * VIEW_COLUMNS];
    va_list arguments;

    memcpy(why, killed, sizeof(killed));
    va_start(arguments, format);
    vsnprintf(why + sizeof(killed) - 1, sizeof(why) - sizeof(killed) + 1, format, arguments);
    va_end(arguments);
    dump_death(vcpu, why);
    return EXIT_KILL;
}
