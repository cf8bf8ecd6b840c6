// SPDX-License-Identifier: BSD-2-Clause
//
// Accesses to guest-physical addresses that are not RAM: devices, the local APIC where the CPU does
// not virtualise it, and nothing at all, which reads as all ones.
// Runs on the VMM's only thread.
#include <inttypes.h>
#include <stdio.h>
#include "libc/kcall.h"
#include "vmm/cpu/exit.h"

#define PAGE_OF(gpa) ((gpa) & ~(PAGE_SIZE - 1))

// Kept apart from the way of a plain access, which then saves fewer registers.
#define COLD __attribute__((noinline))

#define PF_P    1u
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

#define COMPLAINTS_MAX 8 // lines in the VM's log; a process of the guest could fill it

// The guest gets #UD, as of an instruction that its CPU lacks.
static COLD int refuse_instruction(struct vcpu *vcpu)
{
    static const struct guest_fault invalid = { .vector = VECTOR_UD };
    const struct insn_code *code = &vcpu->vmm->insns.code;
    char text[3 * INSN_BYTES + 1] = "";
    const struct insn *insn;
    struct guest_fault fault;
    unsigned used = 0;

    if (vcpu->vmm->complaints >= COMPLAINTS_MAX)
        return exit_fault(vcpu, &invalid);
    // The cache may have known it without reading its bytes.
    insn_fetch(&vcpu->vmm->insns, &vcpu->vmm->ram, &vcpu->page->exit, &insn, &fault);
    for (unsigned i = 0; i < code->count && i < INSN_BYTES; i++) {
        static const char digit[] = "0123456789abcdef";
        uint64_t word = i < 8 ? code->low >> (8 * i) : code->high >> (8 * (i - 8));
        text[used++] = digit[word >> 4 & 15];
        text[used++] = digit[word & 15];
        text[used++] = ' ';
    }
    text[used] = 0;
    printf("not supported on memory of a device: %sat rip 0x%" PRIx64 ", gpa 0x%" PRIx64
           ": the guest gets #UD%s\n", text, vcpu->page->exit.rip, vcpu->page->exit.mmio.gpa,
           ++vcpu->vmm->complaints == COMPLAINTS_MAX ? "; more of these are not shown" : "");
    return exit_fault(vcpu, &invalid);
}

// Accesses that no operand of an instruction made.
static COLD int exit_mmio_indirect(struct vcpu *vcpu, uint32_t word)
{
    const struct vm_exit *exit = &vcpu->page->exit;
    struct guest_fault fault = { .vector = VECTOR_UD };

    if ((word & (VM_MMIO_GVA | VM_MMIO_OPERAND)) == VM_MMIO_GVA) {
        if (word & VM_MMIO_FIND)
            return exit_find_hole(vcpu);
        // Page tables where nothing is: all ones, so present, with reserved bits set.
        fault = (struct guest_fault){ VECTOR_PF, true, PF_P | PF_RSVD, exit->mmio.gva };
        if (word & VM_MMIO_EXEC)
            fault.error |= PF_I;
        if (exit->cpu.cpl == 3)
            fault.error |= PF_U;
        return exit_fault(vcpu, &fault);
    }
    if (word & VM_MMIO_EXEC) // FF FF is not an instruction
        return exit_fault(vcpu, &fault);
    return exit_kill(vcpu, "the CPU itself accesses gpa 0x%" PRIx64 ", which is not memory",
                     exit->mmio.gpa);
}

// RIP is set through the segment registers: the kernel advances it from there.
static enum insn_run run_jump(struct vcpu *vcpu, const struct insn *insn, struct guest_fault *fault)
{
    enum insn_run run;

    if (kcall_vcpu_sregs(vcpu->handle, 0) != OK)
        return INSN_RUN_KILL;
    run = insn_run_jump(insn, &vcpu->vmm->ram, &vcpu->vmm->machine.bus, vcpu->page, fault);
    if (run == INSN_RUN_DONE && kcall_vcpu_sregs(vcpu->handle, 1) != OK)
        return INSN_RUN_KILL;
    return run;
}

static enum insn_run run_vector(struct vcpu *vcpu, const struct insn *insn,
                                struct guest_fault *fault)
{
    enum insn_run run;

    if (kcall_vcpu_fpu(vcpu->handle, 0) != OK)
        return INSN_RUN_KILL;
    run = insn_run_vector(insn, &vcpu->vmm->ram, &vcpu->vmm->machine.bus, vcpu->page, fault);
    if (run != INSN_RUN_BLOCKED && kcall_vcpu_fpu(vcpu->handle, 1) != OK)
        return INSN_RUN_KILL;
    return run;
}

static enum insn_run run_not_simple(struct vcpu *vcpu, const struct insn *insn,
                                    struct guest_fault *fault)
{
    const struct guest_ram *ram = &vcpu->vmm->ram;
    struct bus *bus = &vcpu->vmm->machine.bus;

    if (insn->op == INSN_PUSH || insn->op == INSN_POP)
        return insn_run_stack(insn, ram, bus, vcpu->page, fault);
    if (insn->op <= INSN_SCAS)
        return insn_run_string(insn, ram, bus, vcpu->page, fault);
    if (insn->op == INSN_CMPXCHG_PAIR)
        return insn_run_pair(insn, ram, bus, vcpu->page, fault);
    if (insn->op <= INSN_CALL)
        return run_jump(vcpu, insn, fault);
    return run_vector(vcpu, insn, fault);
}

static COLD int exit_mmio_not_simple(struct vcpu *vcpu, const struct insn *insn)
{
    struct vcpu_page *page = vcpu->page;
    struct guest_fault fault = { 0 };

    if (insn->op == INSN_FLUSH)
        return exit_skip(vcpu, insn->length);
    if (insn->op == INSN_OTHER || PAGE_OF(page->exit.mmio.gpa) == LAPIC_BASE)
        return refuse_instruction(vcpu); // no kernel uses string or stack instructions there
    if (insn_needs_sregs(insn, &page->exit) && kcall_vcpu_sregs(vcpu->handle, 0) != OK)
        return exit_kill(vcpu, "its registers could not be read or written");
    switch (run_not_simple(vcpu, insn, &fault)) {
    case INSN_RUN_DONE:
        return exit_skip(vcpu, insn->length);
    case INSN_RUN_FAULT:
        return exit_fault(vcpu, &fault);
    case INSN_RUN_BLOCKED:
        return EXIT_WAIT;
    case INSN_RUN_KILL:
        return exit_kill(vcpu, "its registers could not be read or written");
    default:
        return exit_skip(vcpu, 0);
    }
}

// What insn_compute() has made of memory, which has been written.
static int finish(struct vcpu *vcpu, const struct insn *insn, const struct insn_result *result)
{
    static const struct guest_fault divide_error = { .vector = VECTOR_DE };

    if (result->divide_error)
        return exit_fault(vcpu, &divide_error);
    insn_commit(insn, vcpu->page, result);
    return exit_skip(vcpu, insn->length);
}

// An access from `gva` on that has parts in two pages: each is translated again.
static int exit_mmio_crossing(struct vcpu *vcpu, const struct insn *insn, uint64_t gva)
{
    struct vcpu_page *page = vcpu->page;
    struct bus *bus = &vcpu->vmm->machine.bus;
    uint64_t old = 0;
    enum gmem_result status = GMEM_OK;
    struct guest_fault fault = { 0 };
    struct insn_result result;

    if (insn_modifies(insn) &&
        !gmem_writable(&vcpu->vmm->ram, &page->exit, gva, insn->size, &fault))
        return exit_fault(vcpu, &fault);
    if (insn_reads(insn))
        status = gmem_read(&vcpu->vmm->ram, bus, &page->exit, gva, insn->size, &old, &fault);
    if (status == GMEM_OK) {
        insn_compute(insn, page, old, &result);
        if (result.write)
            status = gmem_write(&vcpu->vmm->ram, bus, &page->exit, gva, insn->size, result.value,
                                &fault);
    }
    if (status == GMEM_OK)
        return finish(vcpu, insn, &result);
    return status == GMEM_FAULT ? exit_fault(vcpu, &fault) : EXIT_WAIT;
}

// Registers are 4 bytes wide and 16 apart; between them there is nothing.
static bool lapic_register(uint16_t offset)
{
    return (offset & 12) == 0;
}

// "32-bit registers should be accessed using 128-bit aligned 32-bit loads or stores."
static int lapic_write(struct vcpu *vcpu, const struct insn *insn, uint16_t offset, uint64_t value)
{
    struct vm_entry *entry = &vcpu->page->entry;

    if ((offset & 15) != 0 || insn->size < 4)
        return exit_skip(vcpu, insn->length);
    entry->lapic.offset = offset;
    entry->lapic.write = 1;
    entry->lapic.value = (uint32_t)value;
    entry->flags |= VM_ENTRY_LAPIC;
    return (int)(insn->length | VM_RUN_PAGE);
}

static int lapic_finish(struct vcpu *vcpu, const struct insn *insn, uint16_t offset,
                                     uint32_t value)
{
    struct insn_result result;

    insn_compute(insn, vcpu->page, value >> (8 * (offset & 3)), &result);
    if (!result.write)
        return finish(vcpu, insn, &result);
    insn_commit(insn, vcpu->page, &result);
    return lapic_write(vcpu, insn, offset, result.value);
}

static int exit_lapic(struct vcpu *vcpu, const struct insn *insn)
{
    struct vm_entry *entry = &vcpu->page->entry;
    uint16_t offset = vcpu->page->exit.mmio.gpa & (PAGE_SIZE - 1);

    if (insn_stores_plainly(insn))
        return lapic_write(vcpu, insn, offset, insn_stored(insn, vcpu->page));
    if (!insn_reads(insn) || !lapic_register(offset))
        return lapic_finish(vcpu, insn, offset, 0);
    entry->lapic.offset = offset & ~15;
    entry->lapic.write = 0;
    entry->flags |= VM_ENTRY_LAPIC;
    vcpu->lapic.pending = true;
    vcpu->lapic.offset = offset;
    vcpu->lapic.insn = *insn;
    return VM_RUN_PAGE;
}

int exit_lapic_read(struct vcpu *vcpu)
{
    if (!vcpu->lapic.pending)
        return exit_kill(vcpu, "a local APIC read that was not asked for");
    vcpu->lapic.pending = false;
    return lapic_finish(vcpu, &vcpu->lapic.insn, vcpu->lapic.offset, vcpu->page->exit.lapic.value);
}

static COLD int exit_mmio_compute(struct vcpu *vcpu, const struct insn *insn)
{
    struct vcpu_page *page = vcpu->page;
    struct guest_fault fault;
    struct insn_result result;
    uint64_t old = 0;

    // There are CPUs that call this a read, and have not looked yet whether the guest may write.
    if (insn_modifies(insn)) {
        if (insn_needs_sregs(insn, &page->exit) && kcall_vcpu_sregs(vcpu->handle, 0) != OK)
            return exit_kill(vcpu, "its segments could not be read");
        if (!gmem_writable(&vcpu->vmm->ram, &page->exit, insn_address(insn, page), insn->size,
                           &fault))
            return exit_fault(vcpu, &fault);
    }
    if (insn_reads(insn))
        old = bus_mmio_read(&vcpu->vmm->machine.bus, page->exit.mmio.gpa, insn->size);
    insn_compute(insn, page, old, &result);
    if (result.write && bus_mmio_write(&vcpu->vmm->machine.bus, page->exit.mmio.gpa, insn->size,
                                       result.value) != BUS_OK)
        return EXIT_WAIT;
    return finish(vcpu, insn, &result);
}

// The plain case: the access begins at the exit's gpa and ends in the same page. A load or a store
// asks for nothing in page->entry.
static int exit_mmio_access(struct vcpu *vcpu, const struct insn *insn)
{
    struct bus *bus = &vcpu->vmm->machine.bus;
    struct vcpu_page *page = vcpu->page;
    uint64_t gpa = page->exit.mmio.gpa;

    if (insn_stores_plainly(insn))
        return bus_mmio_write(bus, gpa, insn->size,
                              bus_value(insn_stored(insn, page), insn->size)) == BUS_OK
                   ? insn->length : EXIT_WAIT;
    if (!insn_loads_plainly(insn))
        return exit_mmio_compute(vcpu, insn);
    page->gpr[insn->reg] = bus_mmio_read(bus, gpa, insn->size);
    return insn->length;
}

// An access at the start of a page may have begun in the page before, which is RAM. One at the end
// has, if it goes on into the next page, to be found where the CPU has not said its address.
static COLD int exit_mmio_page_edge(struct vcpu *vcpu, const struct insn *insn, uint32_t word)
{
    struct vcpu_page *page = vcpu->page;
    bool at_start = (page->exit.mmio.gpa & (PAGE_SIZE - 1)) == 0;
    uint64_t start = page->exit.mmio.gva;

    if (at_start || (word & VM_MMIO_FIND) != 0) {
        if (insn_needs_sregs(insn, &page->exit) && kcall_vcpu_sregs(vcpu->handle, 0) != OK)
            return exit_kill(vcpu, "its segments could not be read");
        start = word & VM_MMIO_FIND ? insn_address(insn, page) : insn_start(insn, page);
    }
    return (start & (PAGE_SIZE - 1)) == 0 ? exit_mmio_access(vcpu, insn)
                                          : exit_mmio_crossing(vcpu, insn, start);
}

static inline __attribute__((always_inline)) int exit_mmio_insn(struct vcpu *vcpu, uint32_t word,
                                                                const struct insn *insn)
{
    struct vcpu_page *page = vcpu->page;
    uint64_t gpa = page->exit.mmio.gpa, offset = gpa & (PAGE_SIZE - 1);

    if (!insn_is_simple(insn))
        return exit_mmio_not_simple(vcpu, insn);
    if (PAGE_OF(gpa) == LAPIC_BASE)
        return exit_lapic(vcpu, insn);
    if (offset == 0) {
        if (!insn_starts_page(insn, page) && insn->size > 1)
            return exit_mmio_page_edge(vcpu, insn, word);
    } else if (offset > PAGE_SIZE - insn->size) {
        return exit_mmio_page_edge(vcpu, insn, word);
    }
    return exit_mmio_access(vcpu, insn);
}

// Of an instruction that is not in the cache.
static COLD int exit_mmio_fetch(struct vcpu *vcpu, uint32_t word)
{
    struct guest_fault fault;
    const struct insn *insn;
    enum insn_status status = insn_fetch(&vcpu->vmm->insns, &vcpu->vmm->ram, &vcpu->page->exit,
                                         &insn, &fault);

    if (status != INSN_OK)
        return status == INSN_FAULT ? exit_fault(vcpu, &fault) : refuse_instruction(vcpu);
    return exit_mmio_insn(vcpu, word, insn);
}

int exit_mmio(struct vcpu *vcpu, uint32_t word)
{
    const struct insn *insn;

    if ((word & (VM_MMIO_EXEC | VM_MMIO_GVA | VM_MMIO_OPERAND)) != (VM_MMIO_GVA | VM_MMIO_OPERAND))
        return exit_mmio_indirect(vcpu, word);
    insn = insn_again(&vcpu->vmm->insns, &vcpu->vmm->ram, &vcpu->page->exit);
    return insn ? exit_mmio_insn(vcpu, word, insn) : exit_mmio_fetch(vcpu, word);
}
