// SPDX-License-Identifier: BSD-2-Clause
//
// INS and OUTS: port I/O from and to the guest's memory, through its page tables. A long repetition
// is done in chunks; between them the guest takes its interrupts, as on a CPU.
// Runs on the VMM's only thread.
#include "vmm/vmm.h"

#define RFLAGS_DF (1ull << 10)

static enum gmem_result string_in(struct vmm *vmm, uint64_t gva, struct guest_fault *fault)
{
    const struct vm_exit *exit = &vmm->page->exit;
    const struct vm_exit_pio *pio = &exit->pio;
    struct bus *bus = &vmm->machine.bus;
    uint64_t last = linear_address(exit, gva, pio->size - 1u), gpa;

    // A read has effects in the device: it must be sure that the value can be stored.
    if (!walk(&vmm->ram, exit, gva, WALK_WRITE, &gpa, fault) ||
        !walk(&vmm->ram, exit, last, WALK_WRITE, &gpa, fault))
        return GMEM_FAULT;
    return gmem_write(&vmm->ram, bus, exit, gva, pio->size,
                      bus_port_read(bus, pio->port, pio->size), fault);
}

static enum gmem_result string_out(struct vmm *vmm, uint64_t gva, struct guest_fault *fault)
{
    const struct vm_exit_pio *pio = &vmm->page->exit.pio;
    struct bus *bus = &vmm->machine.bus;
    enum gmem_result result;
    uint64_t value = 0;

    result = gmem_read(&vmm->ram, bus, &vmm->page->exit, gva, pio->size, &value, fault);
    if (result != GMEM_OK)
        return result;
    return bus_port_write(bus, pio->port, pio->size, (uint32_t)value) == BUS_OK ? GMEM_OK
                                                                                : GMEM_BLOCKED;
}

enum exit_result exit_pio_string(struct vmm *vmm)
{
    struct vcpu_page *page = vmm->page;
    struct vm_exit_pio *pio = &page->exit.pio;
    int64_t step = page->exit.rflags & RFLAGS_DF ? -(int64_t)pio->size : pio->size;
    unsigned index = pio->in ? GPR_RDI : GPR_RSI;
    uint64_t offset = string_reg(page, index, pio->addr_size);
    uint64_t count = pio->rep ? string_reg(page, GPR_RCX, pio->addr_size) : 1;
    uint64_t chunk = string_chunk(offset, pio->addr_size, step, count), done;
    enum gmem_result result = GMEM_OK;
    struct guest_fault fault = { 0 };

    for (done = 0; done < chunk; done++) {
        result = pio->in ? string_in(vmm, pio->gva, &fault) : string_out(vmm, pio->gva, &fault);
        if (result != GMEM_OK)
            break;
        // In the exit's record too: a blocked exit is handled again from where it stopped.
        pio->gva = linear_address(&page->exit, pio->gva, (uint64_t)step);
    }
    if (done > 0) {
        string_set_reg(page, index, pio->addr_size, offset + done * (uint64_t)step);
        if (pio->rep)
            string_set_reg(page, GPR_RCX, pio->addr_size, count - done);
    }
    if (result == GMEM_FAULT)
        return exit_fault(vmm, &fault);
    if (result == GMEM_BLOCKED)
        return EXIT_WAIT;
    return done == count ? exit_skip(vmm, page->exit.insn_len) : EXIT_ENTER;
}
