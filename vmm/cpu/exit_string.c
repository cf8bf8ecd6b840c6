// SPDX-License-Identifier: BSD-2-Clause
//
// INS and OUTS: port I/O from and to the guest's memory, through its page tables. A long repetition
// is done in chunks; between them the guest takes its interrupts, as on a CPU.
// Runs on the VMM's only thread.
#include "libc/kcall.h"
#include "vmm/cpu/exit.h"

#define RFLAGS_DF (1ull << 10)

// Of struct vm_segment's access.
enum { TYPE_ACCESS = 2, TYPE_DOWN = 4, TYPE_CODE = 8, ACCESS_UNUSABLE = 0x100,
       ACCESS_BIG = 0x4000 };

bool segment_allows(const struct vm_segment *s, bool write, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;

    if ((s->access & ACCESS_UNUSABLE) != 0)
        return false;
    if ((s->access & TYPE_CODE) != 0)
        return !write && (s->access & TYPE_ACCESS) != 0 && last <= s->limit;
    if (write && (s->access & TYPE_ACCESS) == 0)
        return false;
    if ((s->access & TYPE_DOWN) != 0)
        return offset > s->limit && last <= (s->access & ACCESS_BIG ? 0xFFFFFFFF : 0xFFFF);
    return last <= s->limit;
}

// The segment of the memory operand, which the CPU looks at after it has asked whether the port is
// intercepted; or NULL where it does not count.
static const struct vm_segment *string_segment(const struct vcpu_page *page)
{
    const struct vcpu_sregs *s = &page->sregs;
    const struct vm_segment *const segment[] = { &s->es, &s->cs, &s->ss, &s->ds, &s->fs, &s->gs };
    unsigned number = page->exit.pio.segment;

    if (page->exit.cpu.code_size == 8)
        return NULL;
    return segment[number < sizeof(segment) / sizeof(segment[0]) ? number : SEGMENT_DS];
}

// One element. `word`: of the exit.
static enum gmem_result string_in(struct vcpu *vcpu, uint32_t word, struct guest_fault *fault)
{
    const struct vm_exit *exit = &vcpu->page->exit;
    struct bus *bus = &vcpu->vmm->machine.bus;
    unsigned size = VM_PIO_SIZE(word);
    uint64_t gva = exit->pio.gva, last = linear_address(exit, gva, size - 1), gpa;

    // A read has effects in the device: it must be sure that the value can be stored.
    if (!walk(&vcpu->vmm->ram, exit, gva, WALK_WRITE, &gpa, fault) ||
        !walk(&vcpu->vmm->ram, exit, last, WALK_WRITE, &gpa, fault))
        return GMEM_FAULT;
    return gmem_write(&vcpu->vmm->ram, bus, exit, gva, size,
                      bus_port_read(bus, VM_PIO_PORT(word), size),
                      fault);
}

static enum gmem_result string_out(struct vcpu *vcpu, uint32_t word, struct guest_fault *fault)
{
    const struct vm_exit *exit = &vcpu->page->exit;
    struct bus *bus = &vcpu->vmm->machine.bus;
    unsigned size = VM_PIO_SIZE(word);
    enum gmem_result result;
    uint64_t value = 0;

    result = gmem_read(&vcpu->vmm->ram, bus, exit, exit->pio.gva, size, &value, fault);
    if (result != GMEM_OK)
        return result;
    return bus_port_write(bus, VM_PIO_PORT(word), size, (uint32_t)value) == BUS_OK ? GMEM_OK
                                                                                   : GMEM_BLOCKED;
}

// Completes the exit's record where the CPU has said less. False: *fault.
static bool string_find(struct vcpu *vcpu, bool in, struct guest_fault *fault)
{
    struct vm_exit_pio *pio = &vcpu->page->exit.pio;
    const struct insn *insn;

    if (in && pio->addr_size != 0) {
        pio->segment = SEGMENT_ES; // no prefix changes it
        return true;
    }
    if (!exit_insn(vcpu, &insn, fault))
        return false;
    pio->addr_size = insn->addr_size;
    pio->segment = in ? SEGMENT_ES : insn->segment;
    return true;
}

int exit_pio_string(struct vcpu *vcpu, uint32_t word)
{
    struct vcpu_page *page = vcpu->page;
    struct vm_exit_pio *pio = &page->exit.pio;
    bool in = word & VM_PIO_IN, rep = word & VM_PIO_REP;
    bool find = pio->segment == VM_PIO_SEGMENT_UNKNOWN || pio->addr_size == 0;
    struct guest_fault fault = { 0 };

    if (find && !string_find(vcpu, in, &fault))
        return exit_fault(vcpu, &fault);
    unsigned size = VM_PIO_SIZE(word), index = in ? GPR_RDI : GPR_RSI;
    int64_t step = page->exit.rflags & RFLAGS_DF ? -(int64_t)size : size;
    uint64_t offset = string_reg(page, index, pio->addr_size);
    uint64_t count = rep ? string_reg(page, GPR_RCX, pio->addr_size) : 1;
    uint64_t chunk = string_chunk(offset, pio->addr_size, step, count), done;
    enum gmem_result result = GMEM_OK;
    const struct vm_segment *segment = string_segment(page);

    if ((segment != NULL || (find && pio->segment >= SEGMENT_FS)) &&
        kcall_vcpu_sregs(vcpu->handle, 0) != OK)
        return exit_kill(vcpu, "its segments could not be read");
    if (find)
        pio->gva = linear_address(&page->exit, insn_segment_base(page, pio->segment), offset);
    for (done = 0; done < chunk; done++) {
        uint64_t at = offset + done * (uint64_t)step; // a chunk does not wrap
        if (segment != NULL && !segment_allows(segment, in, at, size)) {
            fault = (struct guest_fault){ .has_error = true,
                                          .vector = segment == &page->sregs.ss ? VECTOR_SS
                                                                               : VECTOR_GP };
            result = GMEM_FAULT;
            break;
        }
        result = in ? string_in(vcpu, word, &fault) : string_out(vcpu, word, &fault);
        if (result != GMEM_OK)
            break;
        // In the exit's record too: a blocked exit is handled again from where it stopped.
        pio->gva = linear_address(&page->exit, pio->gva, (uint64_t)step);
    }
    if (done > 0) {
        string_set_reg(page, index, pio->addr_size, offset + done * (uint64_t)step);
        if (rep)
            string_set_reg(page, GPR_RCX, pio->addr_size, count - done);
    }
    if (result == GMEM_FAULT)
        return exit_fault(vcpu, &fault);
    if (result == GMEM_BLOCKED)
        return EXIT_WAIT;
    return done == count ? VM_RUN_NEXT : 0;
}
