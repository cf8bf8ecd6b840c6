// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions with two memory operands: MOVS, STOS, LODS, CMPS, SCAS with their repetitions, PUSH
// and POP.
// Addresses are computed from the registers, for the exit names only one of the two operands.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/cpu/insn.h"

#define RFLAGS_ZF (1ull << 6)
#define RFLAGS_DF (1ull << 10)

static uint64_t offset_mask(unsigned addr_size)
{
    return addr_size >= 8 ? ~0ull : (1ull << (addr_size * 8)) - 1;
}

uint64_t string_chunk(uint64_t offset, unsigned addr_size, int64_t step, uint64_t count)
{
    uint64_t mask = offset_mask(addr_size), size = (uint64_t)(step < 0 ? -step : step), room;

    // Elements that start before the offset wraps.
    offset &= mask;
    room = step < 0 ? offset / size : (mask - offset) / size;
    if (room < STRING_CHUNK && count > room + 1)
        count = room + 1;
    return count < STRING_CHUNK ? count : STRING_CHUNK;
}

uint64_t string_reg(const struct vcpu_page *page, unsigned reg, unsigned addr_size)
{
    return page->gpr[reg] & offset_mask(addr_size);
}

void string_set_reg(struct vcpu_page *page, unsigned reg, unsigned addr_size, uint64_t value)
{
    insn_set_reg(page, reg, addr_size, false, value);
}

static bool compares(const struct insn *insn)
{
    return insn->op == INSN_CMPS || insn->op == INSN_SCAS;
}

// Whether a repeated comparison is at its end, by the element that was the last.
static bool found(const struct insn *insn, const struct vcpu_page *page)
{
    bool equal = page->entry.rflags & RFLAGS_ZF;

    return compares(insn) && equal == ((insn->flags & INSN_REPNE) != 0);
}

// One element; the registers are not moved yet.
static enum gmem_result string_element(const struct insn *insn, const struct guest_ram *ram,
                                       struct bus *bus, struct vcpu_page *page,
                                       struct guest_fault *fault)
{
    const struct vm_exit *exit = &page->exit;
    uint64_t source = linear_address(exit, insn_segment_base(page, insn->segment),
                                     string_reg(page, GPR_RSI, insn->addr_size));
    uint64_t destination = linear_address(exit, insn_segment_base(page, SEGMENT_ES),
                                          string_reg(page, GPR_RDI, insn->addr_size));
    uint64_t value = insn_get_reg(page, GPR_RAX, insn->size, false), other;
    enum gmem_result result;

    if (insn_has_source(insn)) {
        result = gmem_read(ram, bus, exit, source, insn->size, &value, fault);
        if (result != GMEM_OK)
            return result;
    }
    if (compares(insn)) {
        result = gmem_read(ram, bus, exit, destination, insn->size, &other, fault);
        if (result == GMEM_OK)
            insn_compare(page, value, other, insn->size);
        return result;
    }
    if (insn_has_destination(insn))
        return gmem_write(ram, bus, exit, destination, insn->size, value, fault);
    insn_set_reg(page, GPR_RAX, insn->size, false, value);
    return GMEM_OK;
}

enum insn_run insn_run_string(const struct insn *insn, const struct guest_ram *ram,
                              struct bus *bus, struct vcpu_page *page, struct guest_fault *fault)
{
    int64_t step = page->exit.rflags & RFLAGS_DF ? -(int64_t)insn->size : insn->size;
    unsigned size = insn->addr_size;
    uint64_t count = 1;

    if (insn->flags & INSN_REP)
        count = string_reg(page, GPR_RCX, size);
    for (unsigned done = 0; count > 0 && done < STRING_CHUNK; done++) {
        enum gmem_result result = string_element(insn, ram, bus, page, fault);
        if (result != GMEM_OK)
            return insn_run_of(result);
        if (insn_has_source(insn))
            string_set_reg(page, GPR_RSI, size, page->gpr[GPR_RSI] + (uint64_t)step);
        if (insn_has_destination(insn))
            string_set_reg(page, GPR_RDI, size, page->gpr[GPR_RDI] + (uint64_t)step);
        count--;
        if (insn->flags & INSN_REP)
            string_set_reg(page, GPR_RCX, size, count);
        if (found(insn, page))
            return INSN_RUN_DONE;
    }
    return count == 0 ? INSN_RUN_DONE : INSN_RUN_AGAIN;
}

unsigned insn_stack_size(const struct vcpu_page *page)
{
    enum { SEGMENT_BIG = 1 << 14 }; // D/B in vm_segment.access

    if (page->exit.cpu.code_size == 8)
        return 8;
    return page->sregs.ss.access & SEGMENT_BIG ? 4 : 2;
}

// `push mem` and `pop mem`, whichever of operand and stack has made the exit.
enum insn_run insn_run_stack(const struct insn *insn, const struct guest_ram *ram,
                             struct bus *bus, struct vcpu_page *page, struct guest_fault *fault)
{
    const struct vm_exit *exit = &page->exit;
    unsigned stack_size = insn_stack_size(page);
    uint64_t base = insn_segment_base(page, SEGMENT_SS), offset = exit->rsp, value = 0;
    uint64_t operand = insn_address(insn, page);
    enum gmem_result result;

    if (insn->op == INSN_PUSH) {
        offset = (offset - insn->size) & offset_mask(stack_size);
        result = gmem_read(ram, bus, exit, operand, insn->size, &value, fault);
        if (result == GMEM_OK)
            result = gmem_write(ram, bus, exit, linear_address(exit, base, offset), insn->size,
                                value, fault);
    } else {
        offset &= offset_mask(stack_size);
        result = gmem_read(ram, bus, exit, linear_address(exit, base, offset), insn->size, &value,
                           fault);
        if (result == GMEM_OK)
            result = gmem_write(ram, bus, exit, operand, insn->size, value, fault);
        offset += insn->size;
    }
    if (result != GMEM_OK)
        return insn_run_of(result);
    insn_set_reg(page, GPR_RSP, stack_size, false, offset);
    return INSN_RUN_DONE;
}
