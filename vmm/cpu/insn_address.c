// SPDX-License-Identifier: BSD-2-Clause
//
// Where the memory operand of an instruction lies, from its registers. The exit names the address
// that could not be reached, which is another one when an access crosses a page.
// Keeps no state; runs on the VMM's only thread.
#include "vmm/cpu/insn.h"

static bool flat_segment(const struct vm_exit *exit, unsigned segment)
{
    return exit->cpu.code_size == 8 && segment != SEGMENT_FS && segment != SEGMENT_GS;
}

bool insn_needs_sregs(const struct insn *insn, const struct vm_exit *exit)
{
    return !flat_segment(exit, insn->segment);
}

uint64_t insn_segment_base(const struct vcpu_page *page, unsigned segment)
{
    const struct vcpu_sregs *sregs = &page->sregs;

    if (flat_segment(&page->exit, segment))
        return 0;
    switch (segment) {
    case SEGMENT_ES:
        return sregs->es.base;
    case SEGMENT_CS:
        return sregs->cs.base;
    case SEGMENT_SS:
        return sregs->ss.base;
    case SEGMENT_FS:
        return sregs->fs.base;
    case SEGMENT_GS:
        return sregs->gs.base;
    default:
        return sregs->ds.base;
    }
}

// BT and its kin with a bit number in a register reach past their operand: by as many operands as
// the number, which is signed, has in it.
static uint64_t bit_offset(const struct insn *insn, const struct vcpu_page *page)
{
    unsigned bits = insn->size * 8u;

    if (insn->op < INSN_BT || insn->op > INSN_BTC || (insn->flags & INSN_IMM))
        return 0;
    int64_t bit = (int64_t)(insn_get_reg(page, insn->reg, insn->size, false) << (64 - bits));
    bit >>= 64 - bits;
    return (uint64_t)(bit >> __builtin_ctz(bits)) * insn->size;
}

uint64_t insn_address(const struct insn *insn, const struct vcpu_page *page)
{
    uint64_t offset = insn->disp + bit_offset(insn, page);

    if (insn->base == INSN_RIP)
        offset += page->exit.rip + insn->length;
    else if (insn->base != INSN_NO_REG)
        offset += insn_get_reg(page, insn->base, insn->addr_size, false);
    if (insn->base == GPR_RSP && insn->op == INSN_POP)
        offset += insn->size; // "computes the effective address after it increments ESP"
    if (insn->index == INSN_AL) // XLAT
        offset += insn_get_reg(page, GPR_RAX, 1, false);
    else if (insn->index != INSN_NO_REG)
        offset += insn_get_reg(page, insn->index, insn->addr_size, false) * insn->scale;
    if (insn->addr_size < 8)
        offset &= (1ull << (insn->addr_size * 8)) - 1;
    return linear_address(&page->exit, insn_segment_base(page, insn->segment), offset);
}

unsigned insn_places(const struct insn *insn, const struct vcpu_page *page,
                     uint64_t gva[INSN_PLACES])
{
    const struct vm_exit *exit = &page->exit;
    uint64_t stack = insn_segment_base(page, SEGMENT_SS) + exit->rsp;
    unsigned count = 0;

    if (insn->op >= INSN_MOVS && insn->op <= INSN_SCAS) {
        if (insn_has_source(insn))
            gva[count++] = linear_address(exit, insn_segment_base(page, insn->segment),
                                          string_reg(page, GPR_RSI, insn->addr_size));
        if (insn_has_destination(insn))
            gva[count++] = linear_address(exit, insn_segment_base(page, SEGMENT_ES),
                                          string_reg(page, GPR_RDI, insn->addr_size));
        return count;
    }
    if (insn->size != 0)
        gva[count++] = insn_address(insn, page);
    if (!insn_is_simple(insn)) {
        gva[count++] = linear_address(exit, stack, 0);
        gva[count++] = linear_address(exit, stack - exit->cpu.code_size, 0); // of a push
    }
    return count;
}

uint64_t insn_start(const struct insn *insn, const struct vcpu_page *page)
{
    uint64_t gva = page->exit.mmio.gva, address;

    if ((gva & (PAGE_SIZE - 1)) != 0)
        return gva;
    address = insn_address(insn, page);
    // Anything else is not this operand: the exit is right about where it is.
    return gva - address < insn->size ? address : gva;
}
